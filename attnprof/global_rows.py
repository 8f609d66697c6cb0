"""Two ways to compute what global tokens read of a whole sequence, and which multiplies less.

Scores against projected keys are q (W x + b) = (W' q) x + q b for each head: the projection can be
taken of the few queries in place of all tokens, and of what values add up to in place of each.
"""

from __future__ import annotations


def projecting_macs(seq_len: int, hidden_size: int, num_globals: int) -> int:
    """Keys and values of all tokens projected, scores and context; without the queries'."""
    return 2 * seq_len * hidden_size**2 + 2 * num_globals * seq_len * hidden_size


def absorbing_macs(seq_len: int, hidden_size: int, num_heads: int, num_globals: int) -> int:
    """Queries and contexts projected, scores and context over whole tokens, for each head."""
    return 2 * num_globals * (hidden_size**2 + num_heads * seq_len * hidden_size)


def absorbs(seq_len: int, hidden_size: int, num_heads: int, num_globals: int) -> bool:
    """Whether absorbing the projections multiplies less: with few global tokens, it does."""
    return absorbing_macs(seq_len, hidden_size, num_heads, num_globals) < projecting_macs(
        seq_len, hidden_size, num_globals
    )
