"""Phrases that several reports build: lists of words and of lengths, names that fit."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from attnprof.core.units import format_count

_ELLIPSIS = "…"
_TAIL_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.4, 0.3, 0.2, 0.1)
"""Parts of a shortened name that its end may take, the first that keeps names apart."""

_MOST_LISTED = 3


def join_words(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def join_some(words: Sequence[str], most: int = _MOST_LISTED) -> str:
    """As `join_words`, but words after the first `most` are only counted."""
    more = len(words) - most
    # "and 1 more" takes the place of a word.
    return join_words([*words[:most], f"{more} more"] if more > 1 else words)


def join_lengths(lengths: Sequence[int], tested: Sequence[int]) -> str:
    """Lengths as `512, 1,024 and 4,096`; neighbours among those tested, if many, as `512 to 4,096`.

    Args:
        lengths: ascending, each of them in `tested`.
        tested: all lengths, ascending.
    """
    runs: list[list[int]] = []
    for length in lengths:
        if runs and tested.index(length) == tested.index(runs[-1][-1]) + 1:
            runs[-1].append(length)
        else:
            runs.append([length])
    texts: list[str] = []
    for run in runs:
        if len(run) > 2:
            texts.append(f"{format_count(run[0])} to {format_count(run[-1])}")
        else:
            texts += map(format_count, run)
    return join_some(texts)


def shorten_names(names: Sequence[str], width: int) -> Mapping[str, str]:
    """Each name with at most `width` characters, its middle left out; all stay different.

    Names that no such text would keep apart are not shortened.
    """
    for share in _TAIL_SHARES:
        short = {name: _shortened(name, width, share) for name in names}
        if len(set(short.values())) == len(short):
            return short
    return {name: name for name in names}


def _shortened(name: str, width: int, tail_share: float) -> str:
    if len(name) <= width:
        return name
    tail = round(width * tail_share)
    return name[: width - tail - 1] + _ELLIPSIS + name[len(name) - tail :]


def shorten_lines(text: str, width: int, lines: int) -> str:
    """A text in at most `lines` lines of `width` characters; its end is left out between words."""
    mark = f" {_ELLIPSIS}"
    shown = textwrap.wrap(
        text,
        width,
        max_lines=lines,
        placeholder=mark,
        break_long_words=False,
        break_on_hyphens=False,
    )
    kept = " ".join(shown)
    return kept.removesuffix(mark).rstrip(" ,;:(") + mark if kept.endswith(mark) else kept
