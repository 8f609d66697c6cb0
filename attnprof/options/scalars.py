"""The options of which a combination has one value each, defaults included, and their names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from attnprof.core.shape import read_shape
from attnprof.core.workload import Device
from attnprof.options import GridOptions, read_kernel_names, read_scope
from attnprof.options.study import SCALARS

_FORMS = {
    "hidden_size": "hidden {}",
    "num_heads": "{} heads",
    "kv_heads": "{} kv heads",
    "head_dim": "head_dim {}",
    "value_dim": "value_dim {}",
    "new_tokens": "{} new tokens",
    "batch_size": "batch {}",
}
"""How values are named; others name themselves."""

_ORDER = ("dtype", "mode", "batch_size", *SCALARS)


def scalars_of(options: GridOptions, device: Device) -> dict[str, str]:
    """The value of each of `SCALARS` as text.

    Args:
        options: of a combination.
        device: the one that the option stands for.

    Raises:
        UsageError: for the first value that cannot be used.
    """
    shape = read_shape(options)
    mode = options.get("mode") or "inference"
    head_dim = shape.head_dim or shape.hidden_size // shape.num_heads
    return {
        "model": shape.model.name,
        "hidden_size": str(shape.hidden_size),
        "num_heads": str(shape.num_heads),
        "kv_heads": str(shape.kv_heads or shape.num_heads),
        "head_dim": str(head_dim),
        "value_dim": str(shape.value_dim or head_dim),
        "causal": str(shape.causal),
        "new_tokens": str(shape.new_tokens or (1 if mode == "decode" else 0)),
        "batch_size": str(shape.batch_size),
        "dtype": str(options.get("dtype") or "float32"),
        "device": device,
        "mode": mode,
        "scope": read_scope(options, read_kernel_names(options), shape),
    }


def setting_names(
    named: Sequence[Collection[str]], scalars: Sequence[Mapping[str, str]]
) -> list[str]:
    """A name for each combination, of the options that differ among those that a study names.

    Args:
        named: the options that each combination names.
        scalars: their values, as `scalars_of` has them.
    """
    differing = [
        key
        for key in dict.fromkeys(_ORDER)
        if any(key in keys for keys in named) and len({values[key] for values in scalars}) > 1
    ]
    return [", ".join(_name(key, values[key]) for key in differing) for values in scalars]


def _name(key: str, value: str) -> str:
    if key == "causal":
        return "causal" if value == "True" else "bidirectional"
    return _FORMS.get(key, "{}").format(value)
