"""Reads and writes patterns as the command line spells them: `32:64:128`, `1x10:4x2`, `@0:17:40`.

`:` spells out layers (windows) or heads (dilations), `x` repeats a value, and `/` sets off the
layers of a stack whose heads are dilated differently. What is written here can be read back.
"""

from __future__ import annotations

import re
from itertools import groupby

from attnprof.core.errors import UsageError
from attnprof.core.pattern import AttentionPattern, Pattern
from attnprof.core.units import parse_whole_number

MAX_REPEATS = 10_000
MAX_GLOBAL_TOKENS = 100_000
"""Each of them is costed by itself."""

_REPEATED = re.compile(r"(\d+)(?:x(\d+))?", re.ASCII)

_WINDOW_FORMS = "an even number of keys such as 512, or one for each layer as in 32:64:128"
_DILATION_FORMS = "a stride such as 4, or one for each head as in 1x10:4x2"
_GLOBAL_FORMS = "how many first tokens are global, such as 1, or positions as in @0:17:40"

_LONGEST_SHOWN = 24


def _spelled_out(text: str, argument: str, forms: str) -> tuple[int, ...]:
    values: list[int] = []
    for part in text.split(":"):
        match = _REPEATED.fullmatch(part)
        if not match:
            raise UsageError(argument, text, forms)
        value, repeats = (
            parse_whole_number(digits or "1", argument, text, forms) for digits in match.groups()
        )
        if repeats > MAX_REPEATS:
            raise UsageError(argument, text, f"a value is repeated at most {MAX_REPEATS:,} times")
        values += [value] * repeats
    if not values:
        raise UsageError(argument, text, forms)
    return tuple(values)


def _folded(values: tuple[int, ...]) -> str:
    runs = [(value, len(list(run))) for value, run in groupby(values)]
    return ":".join(f"{value}x{count}" if count > 1 else str(value) for value, count in runs)


def parse_window(text: str) -> tuple[int, ...]:
    """Windows in keys, one for each layer, from one value of `--window`.

    Raises:
        UsageError: where the text is no window or names an odd or empty one.
    """
    windows = _spelled_out(text, "window", _WINDOW_FORMS)
    for window in windows:
        if window < 2 or window % 2:
            raise UsageError("window", text, _WINDOW_FORMS)
    return windows


def parse_dilation(text: str, num_heads: int, num_layers: int) -> tuple[tuple[int, ...], ...]:
    """Strides for each head of each layer, from one value of `--dilation`.

    Raises:
        UsageError: where the text is no stride, or names other heads or layers than there are.
    """
    layers = [_spelled_out(layer, "dilation", _DILATION_FORMS) for layer in text.split("/")]
    spread = [layer * num_heads if len(layer) == 1 else layer for layer in layers]
    for layer in spread:
        if min(layer) < 1:
            raise UsageError("dilation", text, _DILATION_FORMS)
        if len(layer) != num_heads:
            raise UsageError(
                "dilation", text, f"names {len(layer)} heads where the layer has {num_heads}"
            )
    if len(spread) not in (1, num_layers):
        raise UsageError(
            "dilation", text, f"names {len(spread)} layers where the windows name {num_layers}"
        )
    return tuple(spread * num_layers if len(spread) == 1 else spread)


def parse_global_tokens(text: str) -> tuple[int, ...]:
    """Global positions, ascending, from one value of `--global-tokens`.

    Raises:
        UsageError: where the text is neither a count nor a list of positions.
    """
    if text.startswith("@"):
        parts = text[1:].split(":")
        return tuple(sorted({_parse_global(part, text) for part in parts}))
    count = _parse_global(text, text)
    if count > MAX_GLOBAL_TOKENS:
        raise UsageError("global_tokens", text, f"at most {MAX_GLOBAL_TOKENS:,} tokens are global")
    return tuple(range(count))


def _parse_global(digits: str, text: str) -> int:
    return parse_whole_number(digits, "global_tokens", text, _GLOBAL_FORMS)


def format_window(pattern: Pattern) -> str:
    """Windows as `--window` takes them; empty where every layer is dense."""
    windows = tuple(layer.window for layer in pattern.layers if layer.window is not None)
    # One window for all layers still has to say how many layers there are.
    return _folded(windows)


def _format_strides(layer: AttentionPattern) -> str:
    return str(layer.dilation[0]) if len(set(layer.dilation)) == 1 else _folded(layer.dilation)


def format_dilation(pattern: Pattern) -> str:
    """Strides as `--dilation` takes them; empty where every layer is dense."""
    strides = [_format_strides(layer) for layer in pattern.layers if not layer.is_dense]
    return "/".join(strides[:1] if len(set(strides)) <= 1 else strides)


def format_global_tokens(pattern: Pattern) -> str:
    """Global positions as `--global-tokens` takes them; empty where every layer is dense."""
    if all(layer.is_dense for layer in pattern.layers):
        return ""
    positions = pattern.layers[0].global_positions
    if positions == tuple(range(len(positions))):
        return str(len(positions))
    return "@" + ":".join(map(str, positions))


def shorten_positions(positions: str) -> str:
    """For people: a list of positions too long to read, by their number."""
    if len(positions) <= _LONGEST_SHOWN:
        return positions
    return f"{positions.count(':') + 1} positions"
