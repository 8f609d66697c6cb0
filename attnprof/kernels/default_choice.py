"""Which kernels are compared if none is named: those that answer what a window saves."""

from __future__ import annotations

from collections.abc import Mapping

from attnprof.core.notation import parse_window
from attnprof.core.option_values import split_values
from attnprof.core.shape import Shape

DEFAULT = ("bert-eager", "bert-sdpa", "longformer-hf", "longformer-banded")

WITH_DENSE_LAYERS = ("bert-eager", "bert-sdpa", "longformer-masked", "longformer-banded")
"""Of stacks in which some layers have a window and others are dense."""

CAUSAL = ("bert-eager", "bert-sdpa", "mistral-sdpa", "longformer-banded")
"""Of causal patterns: dense attention, a window as a mask, a window."""

GROUPED = ("mistral-eager", "mistral-sdpa", "longformer-banded")
"""Of causal patterns with grouped heads, or heads of another width than BERT's."""

MASKS = ("bert-eager", "bert-sdpa", "longformer-masked", "longformer-flex")
"""With `pattern`: those that compute any mask, and dense attention."""

_SPARSE_ONLY = "longformer-"
"""Kernels of this family do not compute dense attention alone."""


def default_kernels(options: Mapping[str, object], shape: Shape) -> tuple[str, ...]:
    """The names of the kernels.

    Args:
        options: by name; None is a default.
        shape: what they describe.

    Raises:
        UsageError: for a window that cannot be parsed.
    """
    if options.get("pattern") is not None:
        return MASKS
    windows = {
        window
        for text in split_values(options, "window", (shape.model.window,))
        for window in parse_window(text, causal=shape.causal)
    }
    if shape.causal:
        names = CAUSAL if shape.has_equal_widths else GROUPED
    else:
        names = WITH_DENSE_LAYERS if None in windows else DEFAULT
    if windows == {None}:
        return tuple(name for name in names if not name.startswith(_SPARSE_ONLY))
    return names
