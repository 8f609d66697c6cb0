"""Complexity contracts: what code may cost, and how that may grow, for CI to enforce."""
