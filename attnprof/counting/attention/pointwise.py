"""Expressions of operators that compute each element from those in the same place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnprof.counting.attention.expressions import (
    Box,
    Evaluate,
    Expression,
    Planes,
    UnknownValuesError,
)

DEPENDS_ON_DATA = "its mask depends on data"

IS_RANDOM = "its mask is random"

LARGE = 9000.0
"""Where data are multiplied by so much, they decide on what a mask hides: `(1 - data) * -10000`."""

_aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Argument:
    """Stands for a tensor among the arguments of an operator: which of the children it is."""

    index: int


class Pointwise(Expression):
    """An operator on elements in the same place; axes of length 1 are repeated.

    Args:
        operator: an overload of an operator, such as `aten.add.Tensor`, that is not in place.
        args: its arguments, with an `Argument` for each tensor.
        kwargs: its named arguments.
        children: the tensors.
        shape: of the result.
        dtype: of the result.
    """

    def __init__(
        self,
        operator: Any,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        children: Sequence[Expression],
        shape: Sequence[int],
        dtype: torch.dtype,
    ) -> None:
        varies = [False] * len(shape)
        for child in children:
            new = len(shape) - len(child.shape)
            for axis, differs in enumerate(child.varies):
                varies[new + axis] |= differs
        super().__init__(shape, dtype, varies, children)
        self.operator = operator
        self.args = tuple(args)
        self.kwargs = kwargs

    @staticmethod
    def source(child: Expression, box: Box) -> Box:
        """The part of a child whose elements are in the places of a box."""
        places = box[len(box) - len(child.shape) :]
        return tuple(
            (0, 1) if size == 1 else place for size, place in zip(child.shape, places, strict=True)
        )

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The operator's result, and which elements are scores."""
        parts = [evaluate(child, self.source(child, box)) for child in self.children]
        if self.has_factors:
            parts = self._with_factors(parts)
        pairs = self._pairs(parts)
        weights = next((i for i, child in enumerate(self.children) if child.is_weights), None)
        if weights is not None:
            return Planes(parts[weights].value, pairs)
        values = [part.value for part in parts]
        args = [_filled(argument, values) for argument in self.args]
        kwargs = {name: _filled(argument, values) for name, argument in self.kwargs.items()}
        return Planes(self.operator(*args, **kwargs).to(self.dtype), pairs)

    @property
    def has_factors(self) -> bool:
        """Whether it is a product or a quotient: values that depend on data scale the others."""
        return self.operator.overloadpacket in (_aten.mul, _aten.div)

    def _with_factors(self, parts: Sequence[Planes]) -> list[Planes]:
        """Factors that depend on data: they scale scores, so 1 stands for them.

        Raises:
            UnknownValuesError: if they scale a mask, as in `(1 - data) * -10000`.
        """
        is_factor = [is_data(child) for child in self.children]
        if self.has_scores:
            return [
                Planes(torch.ones_like(part.value), part.is_pair) if factor else part
                for factor, part in zip(is_factor, parts, strict=True)
            ]
        numbers = [abs(argument) for argument in self.args if isinstance(argument, int | float)]
        numbers += [
            float(part.value.abs().max())
            for factor, part in zip(is_factor, parts, strict=True)
            if not factor
        ]
        if any(is_factor) and max(numbers, default=0) >= LARGE:
            raise UnknownValuesError(DEPENDS_ON_DATA)
        return list(parts)

    def _pairs(self, parts: Sequence[Planes]) -> Tensor | None:
        packet = self.operator.overloadpacket
        if not self.has_scores:
            return None
        if packet is _aten.where:
            condition, chosen, other = (self._part(index, parts) for index in range(3))
            return torch.where(condition.value, _is_pair(chosen), _is_pair(other))
        if packet is _aten.masked_fill:
            filled, mask = (self._part(index, parts) for index in range(2))
            return _is_pair(filled) & ~mask.value
        pairs: Tensor | None = None
        for part in parts:
            if part.is_pair is not None:
                pairs = part.is_pair if pairs is None else pairs | part.is_pair
        if packet is _aten.mul and self.is_weights and pairs is not None:
            for child, part in zip(self.children, parts, strict=True):
                if child.is_known:
                    pairs = pairs & (part.value != 0)
        return pairs

    def _part(self, index: int, parts: Sequence[Planes]) -> Planes:
        return parts[self.args[index].index]


class Cast(Expression):
    """Elements of another type, or the same ones after dropout."""

    def __init__(self, child: Expression, dtype: torch.dtype) -> None:
        super().__init__(child.shape, dtype, child.varies, [child])

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The values in that type; those of attention weights stay what they are."""
        planes = evaluate(self.children[0], box)
        if self.is_weights:
            return planes
        return Planes(planes.value.to(self.dtype), planes.is_pair)


def is_data(expression: Expression) -> bool:
    """Whether its values depend on data and none is a score."""
    return expression.has_data and not expression.has_scores


def _filled(argument: Any, values: Sequence[Tensor]) -> Any:
    return values[argument.index] if isinstance(argument, Argument) else argument


def _is_pair(planes: Planes) -> Tensor:
    if planes.is_pair is None:
        return torch.zeros([1] * planes.value.dim(), dtype=torch.bool)
    return planes.is_pair
