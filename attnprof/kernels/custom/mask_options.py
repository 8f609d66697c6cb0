"""Reads `--pattern` into patterns, before any work starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from attnprof.core.errors import UsageError
from attnprof.core.mask_counts import MAX_PAIRS, too_long
from attnprof.core.option_values import EMPTY_VALUE, split_values
from attnprof.core.pattern import Pattern
from attnprof.core.pattern_stack import AttentionStack
from attnprof.core.shape import Shape
from attnprof.kernels.custom.mask_function import mask_pattern, parse_mask_function

Patterns = str | Callable[..., object] | Sequence[str | Callable[..., object]]
"""Values of `pattern` in Python: text as on the command line, a mask function, or several."""

_OF_WINDOWS = ("window", "dilation", "global_tokens")


def read_mask_patterns(
    options: Mapping[str, object], shape: Shape, lengths: Sequence[int], num_layers: int
) -> list[Pattern]:
    """The patterns of the mask functions that `pattern` names.

    Args:
        options: by name.
        shape: of the layers.
        lengths: ascending lengths in tokens.
        num_layers: equal layers of each pattern.

    Raises:
        UsageError: for a value that names no mask function, for an option of windows, and for a
            length at which the pairs are too many to evaluate.
    """
    for name in _OF_WINDOWS:
        value = options.get(name)
        if value is not None:
            shown = " ".join(map(str, value)) if isinstance(value, list | tuple) else value
            raise UsageError(
                name, shown, "must be left out: --pattern says which keys are attended to"
            )
    patterns: list[Pattern] = []
    for value in dict.fromkeys(_values(options["pattern"])):
        function = parse_mask_function(value)
        layer = mask_pattern(function, shape.num_heads, lengths[0], shape.batch_size)
        heads = shape.num_heads if layer.depends_on_head else 1
        if heads * lengths[-1] ** 2 > MAX_PAIRS:
            raise UsageError("len", lengths[-1], too_long(function.text, heads))
        if options.get("causal") and not layer.causal:
            raise UsageError("pattern", function.text, "attends to later keys; leave out --causal")
        layers = (layer,) * num_layers
        patterns.append(layer if num_layers == 1 else AttentionStack(layers=layers))
    return patterns


def _values(value: object) -> list[object]:
    """Text split at commas, and functions as they are."""
    several = value if isinstance(value, list | tuple) else [value]
    words: list[object] = []
    for one in cast("Iterable[object]", several):
        words += split_values({"pattern": one}, "pattern", ()) if isinstance(one, str) else [one]
    if not words:
        raise UsageError("pattern", EMPTY_VALUE, "needs at least one value")
    return words
