"""Make expressions; equal ones are one object, so that layers that share a mask share its count."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch

from attnprof.counting.attention.expressions import (
    Constant,
    Data,
    Expression,
    Fill,
    Scores,
    Unknown,
)
from attnprof.counting.attention.layout import (
    Cat,
    Expand,
    Overwrite,
    Pad,
    Permute,
    Respread,
    Select,
    Triangle,
)
from attnprof.counting.attention.pointwise import (
    DEPENDS_ON_DATA,
    IS_RANDOM,
    LARGE,
    Argument,
    Cast,
    Pointwise,
)
from attnprof.counting.attention.reductions import OuterProduct, Reduction, Softmax
from attnprof.counting.attention.reshaping import Reshape

_E = TypeVar("_E", bound=Expression)

_aten = torch.ops.aten

_ADDITIVE = (
    _aten.add,
    _aten.sub,
    _aten.mul,
    _aten.div,
    _aten.where,
    _aten.masked_fill,
    _aten.clone,
)
"""Operators that combine data with masks such that data as 0 leave the mask what it is."""


class Builder:
    """Makes expressions, each of them once."""

    def __init__(self) -> None:
        self._made: dict[Any, Expression] = {}

    def _once(self, kind: type[_E], *args: Any) -> _E:
        key = (kind, _key(args))
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = kind(*args)
        return made  # pyright: ignore[reportReturnType]

    # --- leaves -----------------------------------------------------------------------------------

    def constant(self, value: Tensor) -> Expression:
        """Values that are known; they are copied, once where they repeat along an axis."""
        with no_dispatch():
            repeats = [not step for step in value.stride()]
            once = value.detach()[tuple(slice(0, 1 if r else None) for r in repeats)].clone()
            if once.numel() == 1:
                return self.fill(value.shape, value.dtype, once.item())
            if value.dtype.is_complex:
                return self.unknown(value.shape, value.dtype, "complex values are not followed")
            if once.numel() and bool((once == once.flatten()[0]).all()):
                return self.fill(value.shape, value.dtype, once.flatten()[0].item())
            data = once.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        key = (Constant, once.shape, once.dtype, hashlib.sha1(data).digest())
        if key not in self._made:
            self._made[key] = Constant(once)
        return self.expand(self._made[key], value.shape)

    def fill(self, shape: Sequence[int], dtype: torch.dtype, fill: Any) -> Expression:
        """One value everywhere."""
        return self._once(Fill, tuple(shape), dtype, fill)

    def scores(self, shape: Sequence[int], dtype: torch.dtype) -> Expression:
        """A product of queries and keys."""
        return self._once(Scores, tuple(shape), dtype)

    def data(
        self, shape: Sequence[int], dtype: torch.dtype, is_parameter: bool = False
    ) -> Expression:
        """Values that depend on data; where these are no floating-point numbers, unknown ones."""
        if not (dtype.is_floating_point or dtype.is_complex):
            return self.unknown(shape, dtype, DEPENDS_ON_DATA)
        return self._once(Data, tuple(shape), dtype, is_parameter)

    def random(self, shape: Sequence[int], dtype: torch.dtype) -> Expression:
        """Random numbers, or a random choice of elements, as dropout makes it."""
        if dtype.is_floating_point:
            return self.data(shape, dtype)
        return self.unknown(shape, dtype, IS_RANDOM)

    def unknown(self, shape: Sequence[int], dtype: torch.dtype, reason: str) -> Expression:
        """Values that are not known where they must be."""
        return self._once(Unknown, tuple(shape), dtype, reason)

    def lost(
        self, expression: Expression, reason: str, shape: Sequence[int] | None = None
    ) -> Expression:
        """What an operator that is not followed makes of an expression."""
        shape = expression.shape if shape is None else shape
        if isinstance(expression, Data):
            return self.data(shape, expression.dtype, expression.is_parameter)
        return self.unknown(shape, expression.dtype, expression.unknown or reason)

    # --- elements in the same place ---------------------------------------------------------------

    def pointwise(
        self,
        operator: Any,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        children: Sequence[Expression],
        dtype: torch.dtype,
    ) -> Expression:
        """An operator that computes each element from those in the same place."""
        shape = tuple(torch.broadcast_shapes(*(child.shape for child in children)))
        reasons = {child.unknown for child in children if child.unknown}
        weights = next((child for child in children if child.is_weights), None)
        if weights is not None and reasons == {IS_RANDOM}:  # dropout
            return self.cast(weights, dtype)
        if reasons:
            return self.unknown(shape, dtype, min(reasons))
        if all(isinstance(child, Data) for child in children):
            if makes_mask(operator, args):
                return self.unknown(shape, dtype, DEPENDS_ON_DATA)
            is_parameter = all(getattr(child, "is_parameter", False) for child in children)
            return self.data(shape, dtype, is_parameter)
        if any(not child.is_known for child in children):
            has_scores = any(child.has_scores for child in children)
            if not dtype.is_floating_point:
                return self.unknown(shape, dtype, DEPENDS_ON_DATA)
            if not has_scores and operator.overloadpacket not in _ADDITIVE:
                if any(child.is_output for child in children):
                    return self.data(shape, dtype)
                return self.unknown(shape, dtype, DEPENDS_ON_DATA)
        return self._once(Pointwise, operator, tuple(args), kwargs, tuple(children), shape, dtype)

    def cast(self, child: Expression, dtype: torch.dtype) -> Expression:
        """The elements in another type."""
        if child.dtype == dtype:
            return child
        if (
            isinstance(child, Data)
            or child.unknown
            or not (child.is_known or dtype.is_floating_point)
        ):
            if child.unknown:
                return self.unknown(child.shape, dtype, child.unknown)
            return self.data(child.shape, dtype, getattr(child, "is_parameter", False))
        return self._once(Cast, child, dtype)

    def masked_where(self, condition: Expression, child: Expression, fill: float) -> Expression:
        """The elements where a condition is true, and a number elsewhere."""
        return self.choice(condition, child, self.fill((), child.dtype, fill))

    def choice(self, condition: Expression, chosen: Expression, other: Expression) -> Expression:
        """The elements of one tensor where a condition is true, and those of another elsewhere."""
        args = (Argument(0), Argument(1), Argument(2))
        dtype = torch.promote_types(chosen.dtype, other.dtype)
        return self.pointwise(_aten.where.self, args, {}, (condition, chosen, other), dtype)

    def inverted(self, condition: Expression) -> Expression:
        """True where a condition is false."""
        not_ = _aten.logical_not.default
        return self.pointwise(not_, (Argument(0),), {}, (condition,), torch.bool)

    def sum(self, left: Expression, right: Expression, factor: float = 1) -> Expression:
        """One tensor and a multiple of another."""
        kwargs: dict[str, Any] = {} if factor == 1 else {"alpha": factor}
        args = (Argument(0), Argument(1))
        dtype = torch.promote_types(left.dtype, right.dtype)
        return self.pointwise(_aten.add.Tensor, args, kwargs, (left, right), dtype)

    # --- layout -----------------------------------------------------------------------------------

    def _moved(self, child: Expression, shape: Sequence[int]) -> Expression | None:
        """A child whose elements are all equal, in another shape; None for all others."""
        if tuple(shape) == child.shape:
            return child
        if isinstance(child, Data):
            return self.data(shape, child.dtype, child.is_parameter)
        if child.unknown:
            return self.unknown(shape, child.dtype, child.unknown)
        if isinstance(child, Fill):
            return self.fill(shape, child.dtype, child.fill)
        if isinstance(child, Scores):
            return self.scores(shape, child.dtype)
        return None

    def respread(self, child: Expression, shape: Sequence[int]) -> Expression:
        """Elements that are all equal, in another shape."""
        return self._moved(child, shape) or self._once(Respread, child, tuple(shape))

    def permute(self, child: Expression, axes: Sequence[int]) -> Expression:
        """Axes in another order."""
        if tuple(axes) == tuple(range(len(axes))):
            return child
        shape = [child.shape[axis] for axis in axes]
        if child.is_uniform:
            return self.respread(child, shape)
        return self._once(Permute, child, tuple(axes))

    def reshape(self, child: Expression, shape: Sequence[int]) -> Expression:
        """Elements in the same order in another shape."""
        if child.is_uniform:
            return self.respread(child, shape)
        return self._moved(child, shape) or self._once(Reshape, child, tuple(shape))

    def expand(self, child: Expression, shape: Sequence[int]) -> Expression:
        """Axes of length 1 repeated, and new axes in front."""
        if child.is_uniform:
            return self.respread(child, shape)
        return self._moved(child, shape) or self._once(Expand, child, tuple(shape))

    def select(self, child: Expression, axis: int, indices: range) -> Expression:
        """Elements along one axis, by index."""
        if indices == range(child.shape[axis]):
            return child
        shape = [*child.shape[:axis], len(indices), *child.shape[axis + 1 :]]
        if child.is_uniform or 0 in shape:
            return self.respread(child, shape)
        if isinstance(child, Cat) and child.axis == axis and indices.step == 1:
            box = tuple((0, size) for size in child.shape)
            box = (*box[:axis], (indices.start, indices.stop), *box[axis + 1 :])
            places = [(part, place[axis]) for part, place in child.sources(box)]
            parts = [self.select(part, axis, range(*place)) for part, place in places]
            return self.cast(self.cat(parts, axis), child.dtype)
        return self._once(Select, child, axis, indices)

    def overwrite(
        self, base: Expression, source: Expression, axis: int, indices: range
    ) -> Expression:
        """A tensor of which elements along one axis are replaced."""
        if indices == range(base.shape[axis]):
            return self.cast(source, base.dtype)
        if len(indices) == 0 or (isinstance(base, Data) and isinstance(source, Data)):
            return base
        unknown = base.unknown or source.unknown
        if unknown:
            return self.unknown(base.shape, base.dtype, unknown)
        if indices.step != 1:
            return self._once(Overwrite, base, source, axis, indices)
        # Parts side by side: what is written over is nowhere evaluated.
        size = base.shape[axis]
        before, after = range(indices.start), range(indices.stop, size)
        parts = [self.select(base, axis, kept) if kept else None for kept in (before, after)]
        parts.insert(1, self.cast(source, base.dtype))
        return self.cat([part for part in parts if part is not None], axis)

    def cat(self, children: Sequence[Expression], axis: int) -> Expression:
        """Tensors joined along one axis."""
        if any(len(child.shape) > 1 for child in children):
            # torch allows empty tensors with one axis among others.
            children = [child for child in children if child.shape != (0,)]
        if len(children) == 1:
            return children[0]
        flat = list[Expression]()
        for child in children:
            flat += child.children if isinstance(child, Cat) and child.axis == axis else [child]
        joined = Cat(flat, axis)
        if joined.unknown:
            return self.unknown(joined.shape, joined.dtype, joined.unknown)
        if all(isinstance(child, Data) for child in children):
            is_parameter = all(getattr(child, "is_parameter", False) for child in children)
            return self.data(joined.shape, joined.dtype, is_parameter)
        return self._once(Cat, tuple(flat), axis)

    def pad(
        self, child: Expression, pads: Sequence[int], fill: float, result: Tensor
    ) -> Expression:
        """Constant elements around others."""
        if isinstance(child, Data) or child.unknown:
            return self._moved(child, result.shape) or child
        return self._once(Pad, child, tuple(pads), fill)

    def triangle(self, child: Expression, diagonal: int, is_lower: bool) -> Expression:
        """The elements on one side of a diagonal; the others are zero."""
        if isinstance(child, Data) or child.unknown:
            return child
        return self._once(Triangle, child, diagonal, is_lower)

    # --- whole axes -------------------------------------------------------------------------------

    def softmax(self, child: Expression) -> Expression:
        """Attention weights."""
        return child if child.unknown else self._once(Softmax, child)

    def reduction(
        self,
        operator: Any,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        child: Expression,
        axes: Sequence[int],
        result: Tensor,
    ) -> Expression:
        """Values reduced along some axes; a number that depends on data if they do."""
        if child.unknown:
            return self.unknown(result.shape, result.dtype, child.unknown)
        if not child.is_known:
            return self.data(result.shape, result.dtype)
        shape = tuple(result.shape)
        return self._once(
            Reduction, operator, tuple(args), kwargs, child, tuple(axes), shape, result.dtype
        )

    def outer_product(self, left: Expression, right: Expression, dtype: torch.dtype) -> Expression:
        """The product of two known batches of matrices."""
        return self._once(OuterProduct, left, right, dtype)


def makes_mask(operator: Any, args: Sequence[Any]) -> bool:
    """Whether data are multiplied by a large number: `(1 - data) * -10000`."""
    numbers = [abs(argument) for argument in args if isinstance(argument, int | float)]
    return operator.overloadpacket is _aten.mul and max(numbers, default=0) >= LARGE


def _key(value: Any) -> Any:
    """A value that identifies an argument: equal numbers of different types are different."""
    if isinstance(value, Expression):
        return ("expression", id(value))
    if isinstance(value, list | tuple):
        return tuple(_key(item) for item in value)
    if isinstance(value, dict):
        return tuple((name, _key(item)) for name, item in value.items())
    if isinstance(value, float):
        return ("float", repr(value))
    if isinstance(value, bool | int):
        return (type(value).__name__, value)
    return value
