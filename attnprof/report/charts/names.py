"""Names of curves as pictures show them: long ones lose their middle."""

from __future__ import annotations

_MOST_LETTERS = 28
_END_SHARE = 0.6
"""The part of the letters that are from the end, where names of one package differ."""


_LEAST_RUN = 6
"""Letters of a run's name that are worth showing beside the whole name of a kernel."""


def shown_name(label: str, most: int = _MOST_LETTERS) -> str:
    """A name of at most so many letters.

    Of `longformer-banded, 2026-11-26 15:20` the kernel stays whole, as another has the same run.
    """
    if len(label) <= most:
        return label
    series, comma, run = label.partition(", ")
    room = most - len(series) - len(comma) - 1
    if run and room >= _LEAST_RUN:
        return f"{series}, …{run[-room:]}"
    end = int(_END_SHARE * most)
    return f"{label[: most - end - 1]}…{label[-end:]}"
