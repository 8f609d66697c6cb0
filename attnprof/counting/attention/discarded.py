"""Rows of attention whose output is not used, so that none of their pairs are needed.

Longformer's global tokens, for example, get their output from an attention of their own: it
replaces what the window of these tokens gave. BigBird multiplies the rows of padding by 0.
"""

from __future__ import annotations

import math
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch

from attnprof.counting.attention.expressions import (
    Box,
    Evaluate,
    Expression,
    Planes,
    expanded,
    halves,
    lengths,
    varying,
)
from attnprof.counting.attention.layout import Cat, Expand, Pad, Permute, Respread, Select
from attnprof.counting.attention.pair_counts import count_pairs_in
from attnprof.counting.attention.pointwise import Cast, Pointwise
from attnprof.counting.attention.reshaping import Reshape
from attnprof.counting.constant_propagation import constant_value

_aten = torch.ops.aten

_PART_ELEMENTS = 2**20

_OutputTensors = Sequence[tuple[Tensor, Expression]]


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
        self.outputs = frozenset([self])
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

    def row(self, number: int) -> tuple[int, ...]:
        """Where a row is in the weights; 0 along axes in which all their rows are equal."""
        index = list[int]()
        number -= 1
        for size, differs in zip(self.shape[-2::-1], self.weights.varies[-2::-1], strict=True):
            index.insert(0, number % size if differs else 0)
            number //= size
        return tuple(index)


class _MixedRowsError(Exception):
    """Elements come from several rows, or it is not known from which."""


class _Rows:
    """Evaluates from which rows of one output the elements of an expression come."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._planes: dict[tuple[Expression, Box], Planes] = {}

    def evaluate(self, expression: Expression, box: Box) -> Planes:
        """Row numbers in place of values; 0 where an element comes from no row.

        Raises:
            _MixedRowsError: if an element may come from several rows.
        """
        key = (expression, varying(expression, box))
        if key not in self._planes:
            self._planes[key] = self._evaluated(*key)
        return self._planes[key]

    def _evaluated(self, expression: Expression, box: Box) -> Planes:
        if expression is self._output:
            return Planes(self._output.row_numbers(box))
        if self._output not in expression.outputs:
            return Planes(torch.zeros([1] * len(box), dtype=torch.int64))
        if isinstance(expression, Cast):
            return self.evaluate(expression.children[0], box)
        if isinstance(expression, Pointwise):
            return self._pointwise(expression, box)
        if isinstance(expression, Cat):
            parts = [(self.evaluate(child, part), part) for child, part in expression.sources(box)]
            values = [expanded(planes, part).value for planes, part in parts]
            return Planes(torch.cat(values, expression.axis))
        if isinstance(expression, Pad):
            expression = Pad(expression.children[0], expression.pads, 0)
        elif not isinstance(expression, _MOVES):
            raise _MixedRowsError
        return expression.evaluate(box, self.evaluate)

    def _pointwise(self, expression: Pointwise, box: Box) -> Planes:
        """The rows of the one operand that comes from the output, none where a factor is 0."""
        operands = [child for child in expression.children if self._output in child.outputs]
        if len(operands) > 1:
            raise _MixedRowsError
        rows = self.evaluate(operands[0], expression.source(operands[0], box)).value
        for child in _known_factors(expression):
            rows = rows * (_value_of(child, expression.source(child, box)) != 0)
        return Planes(rows)


_MOVES = (Permute, Expand, Select, Respread, Reshape)


def _known_factors(expression: Expression) -> list[Expression]:
    """What a product multiplies by and is known."""
    if isinstance(expression, Pointwise) and expression.operator.overloadpacket is _aten.mul:
        return [child for child in expression.children if child.is_known]
    return []


def _value_of(expression: Expression, box: Box) -> Tensor:
    def evaluate(part: Expression, inside: Box) -> Planes:
        return part.evaluate(varying(part, inside), evaluate)

    return evaluate(expression, box).value


class Reads:
    """What reads outputs of attention, and which of their rows only what cuts them off reads.

    A row is lost where it is cut off, or multiplied by 0, and read nowhere else: by no operator
    whose result is not followed, and not by the caller. What the caller may get is what is alive
    after the last operator.
    """

    def __init__(self) -> None:
        self._reads: dict[Expression, None] = {}
        self._watched = 0
        self._alive: dict[int, tuple[Any, Expression]] = {}
        self._dead: list[Expression] = []  # since the last operator

    def note(self, inputs: _OutputTensors, results: _OutputTensors) -> None:
        """An operator has run: it read the outputs that are in no result.

        Args:
            inputs: its inputs that hold outputs of attention.
            results: its results that do.
        """
        self._dead.clear()
        held = {output for _, result in results for output in result.outputs}
        for _, expression in inputs:
            if not held.issuperset(expression.outputs):
                self._reads[expression] = None
        for tensor, expression in results:
            self._watch(tensor, expression)

    def _watch(self, tensor: Tensor, expression: Expression) -> None:
        self._watched += 1
        key = self._watched

        def died(_: object) -> None:
            self._dead.append(self._alive.pop(key)[1])

        self._alive[key] = (weakref.ref(tensor, died), expression)

    def lost_rows(self) -> Iterator[tuple[Output, set[int]]]:
        """Rows of each output that are lost."""
        readers = dict[Output, list[Expression]]()
        returned = [expression for _, expression in self._alive.values()]
        for expression in dict.fromkeys([*self._reads, *self._dead, *returned]):
            for output in expression.outputs:
                if isinstance(output, Output):
                    readers.setdefault(output, []).append(expression)
        for output, expressions in readers.items():
            with no_dispatch():
                may_lose = any(_may_lose_rows(expression) for expression in expressions)
                lost = _rows_that_none_has(output, expressions) if may_lose else set[int]()
            yield output, lost


def _may_lose_rows(expression: Expression) -> bool:
    """Whether elements of an output are cut off, or multiplied by a mask with zeros."""
    seen, left = set[Expression](), [expression]
    while left:
        current = left.pop()
        if isinstance(current, Select | Pad) or any(map(_may_be_zero, _known_factors(current))):
            return True
        seen.add(current)
        left += [child for child in current.children if child.is_output and child not in seen]
    return False


def _may_be_zero(factor: Expression) -> bool:
    if any(factor.varies):
        return True
    return not _value_of(factor, ((0, 1),) * len(factor.shape)).all()


def _rows_that_none_has(output: Output, expressions: Sequence[Expression]) -> set[int]:
    """Rows of an output of which no element is in one of the expressions."""
    is_read = torch.zeros(math.prod(output.shape[:-1]) + 1, dtype=torch.bool)
    is_read[0] = True
    try:
        for expression in map(_in_another_shape, expressions):
            whole = tuple((0, size) for size in expression.shape)
            for box in _parts(varying(expression, whole)):
                is_read[_Rows(output).evaluate(expression, box).value.flatten()] = True
    except _MixedRowsError:
        return set()
    return set((~is_read).nonzero().flatten().tolist())


def _in_another_shape(expression: Expression) -> Expression:
    """The same elements, if possible with the parts of a value apart: they are of one row."""
    if isinstance(expression, Permute | Reshape | Cast):
        return _in_another_shape(expression.children[0])
    if not isinstance(expression, Select) or not isinstance(expression.children[0], Reshape):
        return expression
    merged = expression.children[0]
    before, shape, axis = merged.children[0], list[int](), 0
    for old, new in merged.groups:
        if expression.axis in new:
            axis = len(shape) + new.index(expression.axis)
            shape += [merged.shape[each] for each in new]
        else:
            shape += [before.shape[each] for each in old]
    return Select(Reshape(before, shape), axis, expression.indices)


def _parts(box: Box) -> Iterator[Box]:
    """A box in parts that are small enough to be evaluated."""
    if math.prod(lengths(box)) <= _PART_ELEMENTS:
        yield box
        return
    for half in halves(box):
        yield from _parts(half)


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
    boxes = list[Box]()
    for position in positions:
        whole = ((0, size) for size in target.shape[len(position) :])
        boxes.append((*((index, index + 1) for index in position), *whole))
    for output in target.outputs:
        if isinstance(output, Output):
            rows, found = _Rows(output), set[int]()
            with no_dispatch(), suppress(_MixedRowsError):
                numbers = [rows.evaluate(target, box).value.unique().tolist() for box in boxes]
                found.update(*numbers)
            yield output, found - {0}


def pairs_of_rows(output: Output, rows: set[int]) -> int:
    """Pairs in rows of the weights of an output."""
    by_copies = dict[int, list[tuple[int, ...]]]()
    for row, copies in sorted(Counter(map(output.row, rows)).items()):
        by_copies.setdefault(copies, []).append(row)
    with no_dispatch():
        return sum(
            copies * count_pairs_in(output.weights, _boxes(equal, output.weights.shape[-1]))
            for copies, equal in by_copies.items()
        )


def _boxes(rows: Sequence[tuple[int, ...]], keys: int) -> Iterator[Box]:
    """Rows in boxes, each of those that follow one another; they are sorted."""
    first = 0
    for last in range(1, len(rows) + 1):
        (*outer, start), (*_, end) = rows[first], rows[last - 1]
        if last == len(rows) or rows[last] != (*outer, end + 1):
            yield (*((index, index + 1) for index in outer), (start, end + 1), (0, keys))
            first = last


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
