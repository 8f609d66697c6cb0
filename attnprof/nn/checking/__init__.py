"""Checks that attention computes what its pattern defines, on sampled queries."""
