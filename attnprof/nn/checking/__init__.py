"""Whether attention computes what its pattern defines, on sampled queries."""
