"""Up to which length a cost is counted, decided by the work that counting takes.

A count on fake tensors takes about as long for any shape; its duration depends on how many
operators run. That is the same on every machine, while a limit in seconds would end a search at
different lengths on different machines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

SHORT_SECONDS = 1.0
"""A count that is expected to take no longer than this always runs."""

SLOWDOWN = 300.0
"""If the time per operator rises by more than this factor, the module loops in Python without
running operators. The ratio compares times of one machine, so a slow machine stops at the same
length as a fast one."""

ANSWER_SECONDS = 120.0
"""Timeout of a count in another process, which is then taken to hang."""


def expected_work(known: Mapping[int, float], seq_len: int) -> float:
    """The expected work at a length, extrapolated from the last known doubling below it.

    Args:
        known: work by length in tokens; lengths above `seq_len` are ignored.
        seq_len: the length in tokens.

    Returns:
        The work in the unit of `known`; 0 if nothing is known. Without a doubling, growth is taken
        to be linear; work that shrinks with length is taken to be constant.
    """
    below = [n for n in known if n <= seq_len]
    if not below:
        return 0
    longest = max(below)
    # Between lengths closer than that, one more block of a loop, or noise, looks like steep growth.
    shorter = max((n for n in below if 2 * n <= longest), default=None)
    if shorter is None:
        return known[longest] * seq_len / longest
    if not (known[shorter] and known[longest]):
        return 0
    growth = math.log(known[longest] / known[shorter]) / math.log(longest / shorter)
    return known[longest] * (seq_len / longest) ** max(0.0, growth)


def loops_in_python(
    operators: Mapping[int, int], seconds: Mapping[int, float], seq_len: int
) -> bool:
    """Whether a count would spend most of its time in Python code that runs no operators.

    Args:
        operators: operators that a count ran, by length in tokens.
        seconds: seconds that it took, at the same lengths.
        seq_len: the length in tokens to be counted next.
    """
    expected = expected_work(seconds, seq_len)
    if expected <= SHORT_SECONDS:
        return False
    least_per_operator = min(seconds[n] / max(1, operators[n]) for n in operators)
    return expected / max(1, expected_work(operators, seq_len)) > SLOWDOWN * least_per_operator
