"""Rows of attention whose output is written over, so that none of their pairs are needed.

Longformer's global tokens, for example, get their output from an attention of their own: it
replaces what the window of these tokens gave.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch

from attnprof.counting.attention.expressions import Box, Evaluate, Expression, Planes
from attnprof.counting.attention.pair_counts import count_pairs_in
from attnprof.counting.attention.pointwise import Cast, Pointwise
from attnprof.counting.constant_propagation import constant_value


class Output(Expression):
    """Attention weights times values, `(…, queries, value_dim)`.

    Args:
        shape: of the tensor.
        dtype: of the tensor.
        weights: the attention weights.
    """

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, weights: Expression) -> None:
        super().__init__(shape, dtype, [True] * (len(shape) - 1) + [False])
        self.has_data = True
        self.is_output = True
        self.weights = weights

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """Zeros in place of data."""
        return Planes(torch.zeros([1] * len(box), dtype=self.dtype))

    def row_numbers(self, box: Box) -> Tensor:
        """The number of each row of the weights, from 1 on."""
        numbers = torch.ones([1] * len(box), dtype=torch.int64)
        stride = 1
        for axis in range(len(box) - 2, -1, -1):
            shape = [1] * len(box)
            shape[axis] = -1
            numbers = numbers + stride * torch.arange(*box[axis]).reshape(shape)
            stride *= self.shape[axis]
        return numbers

    def row(self, number: int) -> Box:
        """The part of the weights that is the row of a number."""
        box: Box = ((0, self.weights.shape[-1]),)
        number -= 1
        for size in reversed(self.shape[:-1]):
            box = ((number % size, number % size + 1), *box)
            number //= size
        return box


class _Rows:
    """Evaluates from which rows of one output the elements of an expression come."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def evaluate(self, expression: Expression, box: Box) -> Planes:
        """Row numbers in place of values; 0 where an element comes from no row."""
        box = tuple(
            part if varies else (0, 1) for part, varies in zip(box, expression.varies, strict=True)
        )
        if expression is self._output:
            return Planes(self._output.row_numbers(box))
        if not expression.is_output or isinstance(expression, Output):
            return Planes(torch.zeros([1] * len(box), dtype=torch.int64))
        if isinstance(expression, Cast):
            return self.evaluate(expression.children[0], box)
        if isinstance(expression, Pointwise):
            parts = [
                self.evaluate(child, expression.source(child, box)).value
                for child in expression.children
            ]
            total = torch.zeros([1] * len(box), dtype=torch.int64)
            for part in parts:
                total = total + part
            return Planes(total)
        return expression.evaluate(box, self.evaluate)


def discarded_rows(
    target: Expression, indices: Sequence[Tensor | None]
) -> Iterator[tuple[Output, set[int]]]:
    """Rows of outputs that are written over.

    Args:
        target: what is written to.
        indices: of the elements that are written, along its first axes.
    """
    positions = _positions(indices)
    if positions is None or not target.is_output:
        return
    for output in _outputs(target):
        rows = set[int]()
        with no_dispatch():
            for position in positions:
                whole = ((0, size) for size in target.shape[len(position) :])
                box = (*((index, index + 1) for index in position), *whole)
                rows.update(_Rows(output).evaluate(target, box).value.unique().tolist())
        yield output, rows - {0}


def pairs_of_rows(output: Output, rows: set[int]) -> int:
    """Pairs in rows of the weights of an output."""
    with no_dispatch():
        return count_pairs_in(output.weights, [output.row(number) for number in sorted(rows)])


def _positions(indices: Sequence[Tensor | None]) -> list[tuple[int, ...]] | None:
    """Known indices, element by element; None if they are not known or no simple lists."""
    known = [None if index is None else constant_value(index) for index in indices]
    values = [value for value in known if value is not None]
    if len(values) < len(indices):
        return None
    with no_dispatch():
        columns = list[Tensor]()
        for value in values:
            is_mask = value.dtype in (torch.bool, torch.uint8)
            columns += value.nonzero().unbind(1) if is_mask else [value]
        if any(column.dim() != 1 for column in columns):
            return None
        return [tuple(row) for row in torch.stack(columns, 1).tolist()]


def _outputs(expression: Expression) -> Iterator[Output]:
    """The outputs of which an expression holds elements, each once."""
    found, left = dict[Output, None](), [expression]
    while left:
        current = left.pop()
        if isinstance(current, Output):
            found[current] = None
        left += [child for child in current.children if child.is_output]
    yield from found
