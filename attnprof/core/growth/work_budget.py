"""How far a cost is counted: by the work that this takes, which is the same on every machine.

A count on fake tensors takes about as long for any shape of its tensors; what makes it long is how
many operators run. A limit in seconds would end a search at other lengths on other machines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

SHORT_SECONDS = 1.0
"""A count that is expected to take no longer is always taken."""

SLOWDOWN = 300.0
"""Of the time for each operator, beyond which a module is known to loop in Python without running
operators. Times of one machine are compared: a slow one stops at the same length as a fast one."""

ANSWER_SECONDS = 120.0
"""After which a count in another process is given up as hung."""


def expected_work(known: Mapping[int, float], seq_len: int) -> float:
    """The work that a length takes, by how it grew over the last known doubling below it.

    Args:
        known: work by length in tokens; lengths above `seq_len` are left out.
        seq_len: the length in tokens.

    Returns:
        0 where nothing is known. Without a doubling, linear growth is assumed; work that shrinks
        with length is taken for constant.
    """
    below = [n for n in known if n <= seq_len]
    if not below:
        return 0
    longest = max(below)
    # Between neighbouring lengths the next block of a loop, or noise, would look like steep growth.
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
    """Whether a length would take long in Python code that runs no operators.

    Args:
        operators: that a count runs, by length in tokens.
        seconds: that it takes, at the same lengths.
        seq_len: the length in tokens.
    """
    expected = expected_work(seconds, seq_len)
    if expected <= SHORT_SECONDS:
        return False
    usual = min(seconds[n] / max(1, operators[n]) for n in operators)
    return expected / max(1, expected_work(operators, seq_len)) > SLOWDOWN * usual
