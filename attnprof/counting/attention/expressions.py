"""Tensors as expressions that are evaluated part by part, so that none needs memory of its own.

A mask of a long sequence has too many elements to be kept. Its expression is small: comparisons of
positions, for example. The scores that it hides are an expression too. Their values are not known,
but which of its elements are scores, and which of those a mask has replaced by -inf, is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from attnprof.core.errors import MeasurementError

Box = tuple[tuple[int, int], ...]
"""A part of a tensor: first and last index, excluded, of each axis."""


class UnknownValuesError(MeasurementError):
    """Pairs cannot be counted, since a value that decides on them is not known."""


def counted_or_reason(count: Callable[[], int]) -> tuple[int | None, str]:
    """A count, or None and the reason why it is not known."""
    try:
        return count(), ""
    except UnknownValuesError as error:
        return None, str(error)


class Planes(NamedTuple):
    """Part of a tensor; each axis has the length of the part, or 1 where all elements are equal.

    Attributes:
        value: the values; 0 for those that depend on data.
        is_pair: whether an element is a score of a query and a key that no mask has hidden; None if
            none is.
    """

    value: Tensor
    is_pair: Tensor | None = None


Evaluate = Callable[["Expression", Box], Planes]
"""Evaluates part of an expression; all parts that an expression needs of others come from it."""


class Expression(ABC):
    """How the elements of a tensor follow from those of others.

    Args:
        shape: of the tensor.
        dtype: of the tensor.
        varies: for each axis, whether elements may differ along it.
        children: the tensors that it follows from.

    Attributes:
        has_scores: whether elements may be scores.
        has_data: whether values depend on data that is not known.
        unknown: why its values are not known where they must be; empty if they are.
        is_weights: whether it holds attention weights: the values of pairs are their scores.
        outputs: the products of attention weights and values of which it holds elements.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: torch.dtype,
        varies: Sequence[bool],
        children: Sequence[Expression] = (),
    ) -> None:
        self.shape = tuple(shape)
        self.dtype = dtype
        self.varies = tuple(
            size > 1 and differs for size, differs in zip(shape, varies, strict=True)
        )
        self.children = tuple(children)
        self.has_scores = any(child.has_scores for child in children)
        self.has_data = any(child.has_data for child in children)
        self.is_weights = any(child.is_weights for child in children)
        self.outputs = frozenset[Expression]().union(*(child.outputs for child in children))
        self.unknown = next((child.unknown for child in children if child.unknown), "")

    @property
    def is_known(self) -> bool:
        """Whether all its values follow from constants."""
        return not (self.has_scores or self.has_data or self.unknown)

    @property
    def is_output(self) -> bool:
        """Whether it holds products of attention weights and values."""
        return bool(self.outputs)

    @property
    def is_uniform(self) -> bool:
        """Whether all elements are equal."""
        return not any(self.varies)

    @abstractmethod
    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The elements in a box, which has length 1 along each axis that does not vary."""


class Constant(Expression):
    """Values that are known and few."""

    def __init__(self, value: Tensor) -> None:
        strides = zip(value.shape, value.stride(), strict=True)
        super().__init__(
            value.shape, value.dtype, [size > 1 and step != 0 for size, step in strides]
        )
        self.value = value

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """A part of the values."""
        return Planes(self.value[tuple(slice(first, last) for first, last in box)])


class Fill(Expression):
    """One value everywhere."""

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, fill: complex) -> None:
        super().__init__(shape, dtype, [False] * len(shape))
        self.fill = fill

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The value."""
        return Planes(torch.full([1] * len(box), self.fill, dtype=self.dtype))


class Scores(Expression):
    """The product of queries and keys."""

    def __init__(self, shape: Sequence[int], dtype: torch.dtype) -> None:
        super().__init__(shape, dtype, [False] * len(shape))
        self.has_scores = True

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """All are pairs."""
        ones = [1] * len(box)
        return Planes(torch.zeros(ones, dtype=self.dtype), torch.ones(ones, dtype=torch.bool))


class Data(Expression):
    """Finite floating-point values that depend on data.

    Attributes:
        is_parameter: whether they are those of a parameter.
    """

    def __init__(
        self, shape: Sequence[int], dtype: torch.dtype, is_parameter: bool = False
    ) -> None:
        super().__init__(shape, dtype, [False] * len(shape))
        self.has_data = True
        self.is_parameter = is_parameter

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """Zeros in their place."""
        return Planes(torch.zeros([1] * len(box), dtype=self.dtype))


class Unknown(Expression):
    """Values that may decide on pairs and are not known."""

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, reason: str) -> None:
        super().__init__(shape, dtype, [False] * len(shape))
        self.unknown = reason

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """Not possible.

        Raises:
            UnknownValuesError: always.
        """
        raise UnknownValuesError(self.unknown)


def lengths(box: Box) -> list[int]:
    """The length of a box along each axis."""
    return [last - first for first, last in box]


def halves(box: Box) -> tuple[Box, Box]:
    """A box split along its longest axis."""
    sizes = lengths(box)
    axis = sizes.index(max(sizes))
    first, last = box[axis]
    middle = first + sizes[axis] // 2
    return (
        (*box[:axis], (first, middle), *box[axis + 1 :]),
        (*box[:axis], (middle, last), *box[axis + 1 :]),
    )


def varying(expression: Expression, box: Box) -> Box:
    """A box of length 1 along the axes in which all elements of an expression are equal."""
    return tuple(
        part if varies else (0, 1) for part, varies in zip(box, expression.varies, strict=True)
    )


def expanded(planes: Planes, box: Box) -> Planes:
    """The planes with all axes as long as the box."""
    sizes = lengths(box)
    pairs = None if planes.is_pair is None else planes.is_pair.expand(sizes)
    return Planes(planes.value.expand(sizes), pairs)


def mapped(planes: Planes, change: Callable[[Tensor], Tensor]) -> Planes:
    """Both planes changed in the same way."""
    return Planes(change(planes.value), None if planes.is_pair is None else change(planes.is_pair))
