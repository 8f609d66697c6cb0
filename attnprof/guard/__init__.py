"""Complexity contracts: limits on costs and their growth, for CI to enforce."""
