"""Complexity contracts: limits on costs and their growth with length, for CI to enforce."""
