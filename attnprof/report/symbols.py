"""What the symbols of cost formulas mean."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MEANINGS = {
    "b": "sequences in the batch",
    "n": "tokens",
    "m": "new tokens",
    "D": "hidden size",
    "d": "width of a head",
    "e": "width of a head of values",
    "H": "heads",
    "K": "heads of keys and values",
    "w": "window",
    "g": "global tokens",
    "F": "width of the feed-forward",
    "L": "layers",
    "S": "scores that all heads compute, masked ones included",
    "T": "products in training: one forward, one for the gradient of each factor",
    "pairs": "of a query and a key that it attends to, in all heads and layers",
}
"""What the symbols of formulas mean, in the order in which they are listed."""

_SYMBOL = re.compile("pairs|[A-Za-z]")


def describe_symbols(formulas: Iterable[str]) -> str:
    """The meanings of the symbols in formulas such as `3·b·n·D²`, in one line."""
    used = {symbol for formula in formulas for symbol in _SYMBOL.findall(formula)}
    return "; ".join(f"{name} {meaning}" for name, meaning in _MEANINGS.items() if name in used)
