"""What an operator makes of expressions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._pytree import tree_leaves, tree_map

from attnprof.counting.aten_operators import aten_operators
from attnprof.counting.attention.building import Builder
from attnprof.counting.attention.expressions import Expression
from attnprof.counting.attention.pointwise import Argument
from attnprof.counting.attention.tensors import TrackedTensors
from attnprof.counting.constant_propagation import constant_value

_aten = torch.ops.aten

Follow = Callable[[TrackedTensors, dict[str, Any], Tensor], "Expression | None"]
"""Takes an operator's arguments by name and its result; returns the expression of the result."""

_UNTAGGED_POINTWISE = frozenset(
    aten_operators("where masked_fill clone rsub fmod remainder floor_divide maximum minimum")
)

_POINTWISE_TAG = torch.Tag.pointwise


def is_pointwise(func: Any) -> bool:
    """Whether an operator computes each element from those in the same place."""
    return func.overloadpacket in _UNTAGGED_POINTWISE or _POINTWISE_TAG in func.tags


def pointwise(
    tensors: TrackedTensors, func: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Tensor
) -> Expression:
    """The expression of an operator that computes each element from those in the same place."""
    children = list[Expression]()

    def replace(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            children.append(tensors.expression(leaf))
            return Argument(len(children) - 1)
        return leaf

    kept = {name: value for name, value in kwargs.items() if name not in ("memory_format", "out")}
    args, kept = tree_map(replace, (tuple(args), kept))
    return tensors.build.pointwise(func, args, kept, children, result.dtype)


# --- new tensors ----------------------------------------------------------------------------------


def _filled(fill: float | None) -> Follow:
    def follow(tensors: TrackedTensors, named: dict[str, Any], result: Tensor) -> Expression:
        value: Any = named["fill_value"] if fill is None else fill
        return tensors.build.fill(result.shape, result.dtype, value)

    return follow


def _copied(tensors: TrackedTensors, named: dict[str, Any], result: Tensor) -> Expression:
    return tensors.build.cast(tensors.expression(named["self"]), result.dtype)


def _dropped_out(tensors: TrackedTensors, named: dict[str, Any], result: Tensor) -> Expression:
    source = named["input"] if "input" in named else named["self"]
    return tensors.build.cast(tensors.expression(source), result.dtype)


# --- layout ---------------------------------------------------------------------------------------


def _cat(tensors: TrackedTensors, named: dict[str, Any], result: Tensor) -> Expression:
    children = [tensors.expression(tensor) for tensor in named["tensors"]]
    return tensors.build.cat(children, named["dim"] % result.dim())


def _stack(tensors: TrackedTensors, named: dict[str, Any], result: Tensor) -> Expression:
    axis = named["dim"] % result.dim()
    shape = [*result.shape[:axis], 1, *result.shape[axis + 1 :]]
    build = tensors.build
    children = [build.reshape(tensors.expression(tensor), shape) for tensor in named["tensors"]]
    return build.cat(children, axis)


def _pad(tensors: TrackedTensors, named: dict[str, Any], result: Tensor) -> Expression:
    child = tensors.expression(named["self"])
    return tensors.build.pad(child, named["pad"], named["value"], result)


def _triangle(is_lower: bool) -> Follow:
    def follow(tensors: TrackedTensors, named: dict[str, Any], result: Tensor) -> Expression:
        child = tensors.expression(named["self"])
        return tensors.build.triangle(child, named["diagonal"], is_lower)

    return follow


def _flip(tensors: TrackedTensors, named: dict[str, Any], result: Tensor) -> Expression:
    expression = tensors.expression(named["self"])
    for axis in named["dims"]:
        backwards = range(expression.shape[axis] - 1, -1, -1)
        expression = tensors.build.select(expression, axis % result.dim(), backwards)
    return expression


def _roll(tensors: TrackedTensors, named: dict[str, Any], result: Tensor) -> Expression | None:
    if not named["dims"]:
        return None
    build, expression = tensors.build, tensors.expression(named["self"])
    for shift, dim in zip(named["shifts"], named["dims"], strict=True):
        axis = dim % result.dim()
        size = result.shape[axis]
        cut = -shift % size
        parts = [
            build.select(expression, axis, part) for part in (range(cut, size), range(cut)) if part
        ]
        expression = build.cat(parts, axis)
    return expression


def _repeat(tensors: TrackedTensors, named: dict[str, Any], result: Tensor) -> Expression:
    build, child = tensors.build, tensors.expression(named["self"])
    repeats = list(named["repeats"])
    sizes = [1] * (len(repeats) - len(child.shape)) + list(child.shape)
    split = [size for pair in zip([1] * len(sizes), sizes, strict=True) for size in pair]
    spread = [size for pair in zip(repeats, sizes, strict=True) for size in pair]
    return build.reshape(build.expand(build.reshape(child, split), spread), result.shape)


def _index_select(
    tensors: TrackedTensors, named: dict[str, Any], result: Tensor
) -> Expression | None:
    child = tensors.expression(named["self"])
    return tensors.build.respread(child, result.shape) if child.is_uniform else None


def _index_put(tensors: TrackedTensors, named: dict[str, Any], result: Tensor) -> Expression | None:
    """One value, or data, at known positions along some axes."""
    values = tensors.expression(named["values"])
    if named["accumulate"] or not values.is_uniform:
        return None
    base = tensors.expression(named["self"])
    indices = [None if index is None else constant_value(index) for index in named["indices"]]
    is_all_known = all(
        (index is None) == (value is None)
        for index, value in zip(named["indices"], indices, strict=True)
    )
    if not is_all_known:
        return None
    with no_dispatch():
        written = _positions_written(base.shape, indices)
    build = tensors.build
    value = build.cast(build.respread(values, ()), base.dtype)
    return build.choice(build.constant(written), value, base)


def _positions_written(shape: Sequence[int], indices: Sequence[Tensor | None]) -> Tensor:
    """True at the positions, with axes of length 1 where there is no index."""
    sizes, places, axis = [1] * len(shape), list[Any](), 0
    for index in indices:
        axes = index.dim() if index is not None and index.dtype == torch.bool else 1
        places += [slice(None) if index is None else index]
        if index is not None:
            sizes[axis : axis + axes] = shape[axis : axis + axes]
        axis += axes
    written = torch.zeros(sizes, dtype=torch.bool)
    written[tuple(places)] = True
    return written


# --- reductions -----------------------------------------------------------------------------------

_ORDERS = aten_operators("topk sort argsort kthvalue median mode cummax cumsum unique_dim _unique2")
"""Operators whose results depend on data if their inputs do, and are no scores of their own."""

_REDUCTIONS = aten_operators("any all sum mean amax amin max min argmax argmin prod logsumexp norm")


def reduction(
    tensors: TrackedTensors, func: Any, named: dict[str, Any], result: Tensor
) -> Expression | None:
    """The expression of a reduction along some axes; None if the operator is none."""
    if func.overloadpacket not in _REDUCTIONS:
        return None
    child = tensors.expression(named["self"])
    axes = named.get("dim", [])
    axes = [axes] if isinstance(axes, int) else list(axes or range(len(child.shape)))
    axes = [axis % len(child.shape) for axis in axes] if child.shape else []
    rest = {name: value for name, value in named.items() if name != "self"}
    return tensors.build.reduction(func, (), rest, child, axes, result)


FOLLOWED: dict[Any, Follow] = {
    **dict.fromkeys(aten_operators("zeros zeros_like new_zeros"), _filled(0)),
    **dict.fromkeys(aten_operators("ones ones_like new_ones"), _filled(1)),
    **dict.fromkeys(aten_operators("full full_like new_full"), _filled(None)),
    **dict.fromkeys(aten_operators("clone _to_copy contiguous lift_fresh_copy"), _copied),
    **dict.fromkeys(aten_operators("native_dropout dropout _fused_dropout"), _dropped_out),
    **dict.fromkeys(aten_operators("cat concat"), _cat),
    **dict.fromkeys(aten_operators("stack"), _stack),
    **dict.fromkeys(aten_operators("constant_pad_nd"), _pad),
    **dict.fromkeys(aten_operators("tril"), _triangle(True)),
    **dict.fromkeys(aten_operators("triu"), _triangle(False)),
    **dict.fromkeys(aten_operators("flip"), _flip),
    **dict.fromkeys(aten_operators("roll"), _roll),
    **dict.fromkeys(aten_operators("repeat"), _repeat),
    **dict.fromkeys(aten_operators("index_put"), _index_put),
    **dict.fromkeys(aten_operators("index_select gather index _unsafe_index"), _index_select),
}


def lost(tensors: TrackedTensors, func: Any, inputs: Any, result: Tensor) -> Expression:
    """What an operator that is not followed makes: data of data, or values that are not known."""
    build: Builder = tensors.build
    children = [
        tensors.expression(leaf) for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)
    ]
    if torch.Tag.nondeterministic_seeded in func.tags and not children:
        return build.random(result.shape, result.dtype)
    if not children:  # memory that is not initialised
        return build.data(result.shape, result.dtype)
    unknown = next((child.unknown for child in children if child.unknown), "")
    has_scores = any(child.has_scores for child in children)
    is_data = not has_scores or func.overloadpacket in _ORDERS
    if is_data and any(child.has_data or child.has_scores for child in children):
        return build.data(result.shape, result.dtype)
    reason = unknown or f"{func.overloadpacket} of a mask or of scores is not followed"
    return build.unknown(result.shape, result.dtype, reason)
