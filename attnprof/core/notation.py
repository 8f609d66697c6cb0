"""Parses and formats patterns as on the command line: `32:64:full`, `1x10:4x2`, `@0:17:40`.

`:` separates layers (of windows) or heads (of dilations), `x` repeats a value, and `/` separates
the layers of a stack whose dilations differ. A window `255+0` is 255 keys before a query and none
after it; `full` is a dense layer. Formatted values can be parsed again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from attnprof.core.errors import UsageError
from attnprof.core.option_values import parse_whole_number
from attnprof.core.pattern import AttentionPattern, Pattern
from attnprof.core.units import counted

MAX_REPEATS = 10_000
"""The most times that `x` may repeat a value."""

MAX_GLOBAL_TOKENS = 100_000
"""The most global tokens; costs take time proportional to their number."""

FULL = "full"
"""A dense layer among windows."""

Window = int | tuple[int, int] | None
"""A window as `AttentionPattern.sliding` takes it; None for a dense layer."""

_REPEATED = re.compile(r"(?P<value>\d+(?:\+\d+)?|full)(?:x(?P<count>\d+))?", re.ASCII)

_WINDOW_FORMS = (
    "must be an even number of keys, such as 512, the keys before and after a query, such as "
    "255+0, or one for each layer, such as 512x5:full"
)
_CAUSAL_FORMS = (
    "must be a number of keys with the query's own, such as 512, or one for each layer, such as "
    "512x5:full; a causal window has no keys after a query"
)
_DILATION_FORMS = "must be a stride, such as 4, or one for each head, such as 1x10:4x2"
_GLOBAL_FORMS = (
    "must be a number of leading global tokens, such as 1, or positions, such as @0:17:40"
)

_MAX_SHOWN_CHARACTERS = 24


def _expand(text: str, argument: str, forms: str) -> tuple[str, ...]:
    """The values of a text such as `1x10:4x2`, as text.

    Raises:
        UsageError: if the text has another form; the message says which `forms` are valid.
    """
    values: list[str] = []
    for part in text.split(":"):
        match = _REPEATED.fullmatch(part)
        if not match:
            raise UsageError(argument, text, forms)
        repeats = parse_whole_number(match["count"] or "1", argument, text, forms)
        if repeats > MAX_REPEATS:
            raise UsageError(argument, text, f"must repeat a value at most {MAX_REPEATS:,} times")
        values += [match["value"]] * repeats
    if not values:
        raise UsageError(argument, text, forms)
    return tuple(values)


def _fold(values: Iterable[object]) -> str:
    """The shortest text that `_expand` reads as these values."""
    runs = [(value, len(list(run))) for value, run in groupby(values)]
    return ":".join(f"{value}x{count}" if count > 1 else str(value) for value, count in runs)


def parse_window(text: str, *, causal: bool = False) -> tuple[Window, ...]:
    """Windows, one for each layer, from one value of `--window`.

    Args:
        text: the value.
        causal: whether windows end at the query.

    Raises:
        UsageError: if the text is not a list of windows, or has a window that no pattern has.
    """
    forms = _CAUSAL_FORMS if causal else _WINDOW_FORMS
    windows = tuple(
        _parse_one_window(value, text, forms) for value in _expand(text, "window", forms)
    )
    for window in dict.fromkeys(windows):
        try:
            layer_pattern(window, num_heads=1, causal=causal)
        except UsageError as error:
            raise UsageError("window", text, forms) from error
    return windows


def _parse_one_window(value: str, text: str, forms: str) -> Window:
    if value == FULL:
        return None
    sides = [parse_whole_number(side, "window", text, forms) for side in value.split("+")]
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def layer_pattern(
    window: Window,
    dilation: int | Sequence[int] = 1,
    global_positions: Sequence[int] = (),
    *,
    num_heads: int,
    causal: bool,
) -> AttentionPattern:
    """The pattern of a layer with a window, dense if it is None.

    Args:
        window: as `parse_window` returns it.
        dilation: as `AttentionPattern.sliding` takes it; a dense layer has none.
        global_positions: a dense layer has none.
        num_heads: heads of the layer.
        causal: whether no query attends to a later key.

    Raises:
        UsageError: for a value that no pattern has.
    """
    if window is None:
        return AttentionPattern.dense(num_heads, causal=causal)
    return AttentionPattern.sliding(window, dilation, global_positions, num_heads, causal=causal)


def parse_dilation(text: str, num_heads: int, num_layers: int) -> tuple[tuple[int, ...], ...]:
    """Strides for each head of each layer, from one value of `--dilation`.

    Args:
        text: the value.
        num_heads: heads of a layer.
        num_layers: layers, as many as there are windows.

    Returns:
        One tuple of `num_heads` strides for each layer.

    Raises:
        UsageError: if the text is not a list of strides, or does not match the heads or layers.
    """
    parsed = [
        tuple(
            parse_whole_number(stride, "dilation", text, _DILATION_FORMS)
            for stride in _expand(layer, "dilation", _DILATION_FORMS)
        )
        for layer in text.split("/")
    ]
    layers = [layer * num_heads if len(layer) == 1 else layer for layer in parsed]
    for layer in layers:
        if min(layer) < 1:
            raise UsageError("dilation", text, _DILATION_FORMS)
        if len(layer) != num_heads:
            raise UsageError(
                "dilation",
                text,
                f"has strides for {counted(len(layer), 'head')}; the layer has {num_heads}",
            )
    if len(layers) not in (1, num_layers):
        raise UsageError(
            "dilation",
            text,
            f"has strides for {counted(len(layers), 'layer')}; there are windows for {num_layers}",
        )
    return tuple(layers * num_layers if len(layers) == 1 else layers)


def parse_global_tokens(text: str) -> tuple[int, ...]:
    """Global positions, ascending, from one value of `--global-tokens`.

    Raises:
        UsageError: if the text is neither a count nor a list of positions.
    """
    if text.startswith("@"):
        parts = text[1:].split(":")
        return tuple(sorted({_parse_global(part, text) for part in parts}))
    count = _parse_global(text, text)
    if count > MAX_GLOBAL_TOKENS:
        raise UsageError("global_tokens", text, f"must be at most {MAX_GLOBAL_TOKENS:,} tokens")
    return tuple(range(count))


def _parse_global(digits: str, text: str) -> int:
    return parse_whole_number(digits, "global_tokens", text, _GLOBAL_FORMS)


def has_windows(pattern: Pattern) -> bool:
    """Whether a layer has a window: not if all are dense, or have a mask function."""
    return any(layer.left is not None for layer in pattern.layers)


def format_window(pattern: Pattern) -> str:
    """Windows as `--window` accepts them; empty if no layer has one."""
    if not has_windows(pattern):
        return ""
    # Equal windows are not reduced to one: their number is the number of layers.
    return _fold(format_layer_window(layer) for layer in pattern.layers)


def format_layer_window(layer: AttentionPattern) -> str:
    """The window of one layer as `--window` accepts it."""
    if layer.left is None or layer.right is None:
        return FULL
    is_number = layer.causal or (layer.left == layer.right and layer.left > 0)
    return str(layer.window) if is_number else f"{layer.left}+{layer.right}"


def _format_strides(layer: AttentionPattern) -> str:
    return str(layer.dilation[0]) if len(set(layer.dilation)) == 1 else _fold(layer.dilation)


def format_dilation(pattern: Pattern) -> str:
    """Strides as `--dilation` accepts them; empty if no layer has a window."""
    sparse = {_format_strides(layer) for layer in pattern.layers if layer.left is not None}
    if len(sparse) <= 1:
        return "".join(sparse)
    return "/".join(map(_format_strides, pattern.layers))


def format_global_tokens(pattern: Pattern) -> str:
    """Global positions as `--global-tokens` accepts them; empty if no layer has a window."""
    if not has_windows(pattern):
        return ""
    positions = next(layer for layer in pattern.layers if not layer.is_dense).global_positions
    if positions == tuple(range(len(positions))):
        return str(len(positions))
    return "@" + ":".join(map(str, positions))


def shorten_positions(positions: str) -> str:
    """Positions for display: a long list is replaced by its length, such as `40 positions`."""
    if len(positions) <= _MAX_SHOWN_CHARACTERS:
        return positions
    return counted(positions.count(":") + 1, "position")
