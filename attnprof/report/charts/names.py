"""Names of curves as pictures show them: long ones lose their middle."""

from __future__ import annotations

_MOST_LETTERS = 34
_END_SHARE = 0.6
"""The part of the letters that are from the end, where names of one package differ."""


def shown_name(label: str, most: int = _MOST_LETTERS) -> str:
    """A name of at most so many letters."""
    if len(label) <= most:
        return label
    end = int(_END_SHARE * most)
    return f"{label[: most - end - 1]}…{label[-end:]}"
