"""Expressions that move elements: axes swapped, cut, padded, joined and overwritten."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from attnprof.counting.attention.expressions import (
    Box,
    Evaluate,
    Expression,
    Planes,
    expanded,
    lengths,
    mapped,
)


class Permute(Expression):
    """Axes in another order."""

    def __init__(self, child: Expression, axes: Sequence[int]) -> None:
        shape = [child.shape[axis] for axis in axes]
        super().__init__(shape, child.dtype, [child.varies[axis] for axis in axes], [child])
        self.axes = tuple(axes)

    def source(self, box: Box) -> Box:
        """The same part with axes in their old order."""
        inside = [(0, 0)] * len(box)
        for axis, part in zip(self.axes, box, strict=True):
            inside[axis] = part
        return tuple(inside)

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The same elements in another order."""
        planes = evaluate(self.children[0], self.source(box))
        return mapped(planes, lambda plane: plane.permute(self.axes))


class Expand(Expression):
    """Axes of length 1 repeated, and new axes in front."""

    def __init__(self, child: Expression, shape: Sequence[int]) -> None:
        new = len(shape) - len(child.shape)
        super().__init__(shape, child.dtype, [False] * new + list(child.varies), [child])
        self.new = new

    def source(self, box: Box) -> Box:
        """The part without new axes."""
        return box[self.new :]

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The elements that are repeated, once."""
        planes = evaluate(self.children[0], self.source(box))
        return mapped(planes, lambda plane: plane[(None,) * self.new])


class Select(Expression):
    """Elements along one axis, by index, such as those of a slice, or all in reverse order."""

    def __init__(self, child: Expression, axis: int, indices: range) -> None:
        shape = [*child.shape[:axis], len(indices), *child.shape[axis + 1 :]]
        super().__init__(shape, child.dtype, child.varies, [child])
        self.axis = axis
        self.indices = indices

    def source(self, box: Box) -> Box:
        """The part from the first index to the last."""
        chosen = self._chosen(box)
        low, high = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1])
        return (*box[: self.axis], (low, high + 1), *box[self.axis + 1 :])

    def _chosen(self, box: Box) -> range:
        first, last = box[self.axis]
        return self.indices[first:last]

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The elements at the indices."""
        chosen = self._chosen(box)
        planes = evaluate(self.children[0], self.source(box))

        def choose(plane: Tensor) -> Tensor:
            if plane.shape[self.axis] == 1:
                return plane
            if chosen.step < 0:
                plane = plane.flip(self.axis)
            return plane[(slice(None),) * self.axis + (slice(None, None, abs(chosen.step)),)]

        return mapped(planes, choose)


class Respread(Expression):
    """Elements that are all equal, in another shape: wherever they are moved to, they are those."""

    def __init__(self, child: Expression, shape: Sequence[int]) -> None:
        super().__init__(shape, child.dtype, [False] * len(shape), [child])

    def source(self, box: Box) -> Box:
        """The first element."""
        return ((0, 1),) * len(self.children[0].shape)

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The one value."""
        planes = evaluate(self.children[0], self.source(box))
        return mapped(planes, lambda plane: plane.reshape([1] * len(box)))


class Cat(Expression):
    """Tensors joined along one axis."""

    def __init__(self, children: Sequence[Expression], axis: int) -> None:
        first = children[0]
        shape = list(first.shape)
        shape[axis] = sum(child.shape[axis] for child in children)
        varies = [any(flags) for flags in zip(*(c.varies for c in children), strict=True)]
        varies[axis] = True
        dtype = first.dtype
        for child in children[1:]:
            dtype = torch.promote_types(dtype, child.dtype)
        super().__init__(shape, dtype, varies, children)
        self.axis = axis

    def sources(self, box: Box) -> list[tuple[Expression, Box]]:
        """The tensors that are touched, with the part of each."""
        first, last = box[self.axis]
        start, parts = 0, list[tuple[Expression, Box]]()
        for child in self.children:
            stop = start + child.shape[self.axis]
            low, high = max(first, start), min(last, stop)
            if low < high:
                place = (low - start, high - start)
                parts.append((child, (*box[: self.axis], place, *box[self.axis + 1 :])))
            start = stop
        return parts

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The elements of each tensor that is touched."""
        parts = [expanded(evaluate(child, part), part) for child, part in self.sources(box)]
        value = torch.cat([part.value.to(self.dtype) for part in parts], self.axis)
        if all(part.is_pair is None for part in parts):
            return Planes(value)
        pairs = [
            torch.zeros_like(part.value, dtype=torch.bool) if part.is_pair is None else part.is_pair
            for part in parts
        ]
        return Planes(value, torch.cat(pairs, self.axis))


class Pad(Expression):
    """Constant elements around others, or some cut off where there are fewer than none."""

    def __init__(self, child: Expression, pads: Sequence[int], fill: float) -> None:
        axes = len(child.shape)
        edges = [(0, 0)] * axes
        for index in range(len(pads) // 2):
            edges[axes - 1 - index] = (pads[2 * index], pads[2 * index + 1])
        shape = [
            size + before + after for size, (before, after) in zip(child.shape, edges, strict=True)
        ]
        varies = [
            differs or edge != (0, 0) for differs, edge in zip(child.varies, edges, strict=True)
        ]
        super().__init__(shape, child.dtype, varies, [child])
        self.pads = tuple(pads)
        self.before = [before for before, _ in edges]
        self.fill = fill

    def source(self, box: Box) -> Box:
        """The part of the elements inside; an axis of length 0 if there are none."""
        inside = list[tuple[int, int]]()
        for (first, last), before, size in zip(
            box, self.before, self.children[0].shape, strict=True
        ):
            low = min(max(first - before, 0), size)
            inside.append((low, min(max(last - before, low), size)))
        return tuple(inside)

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The elements inside, with those around them."""
        inside = self.source(box)
        if 0 in lengths(inside):
            return Planes(torch.full([1] * len(box), self.fill, dtype=self.dtype))
        around = list[int]()
        for (first, last), before, (low, high) in zip(box, self.before, inside, strict=True):
            in_front = max(0, before - first)
            around = [in_front, (last - first) - in_front - (high - low), *around]
        planes = expanded(evaluate(self.children[0], inside), inside)
        value = functional.pad(planes.value, around, value=self.fill)
        if planes.is_pair is None:
            return Planes(value)
        return Planes(value, functional.pad(planes.is_pair, around, value=False))


class Overwrite(Expression):
    """A tensor of which a slice along one axis is replaced."""

    def __init__(self, base: Expression, source: Expression, axis: int, indices: range) -> None:
        varies = [one or other for one, other in zip(base.varies, source.varies, strict=True)]
        varies[axis] = True
        super().__init__(base.shape, base.dtype, varies, [base, source])
        self.axis = axis
        self.indices = indices

    def source(self, box: Box) -> Box | None:
        """The part of the slice that is in a box; None if none is."""
        first, last = box[self.axis]
        start, stop, step = self.indices.start, self.indices.stop, self.indices.step
        low = len(range(start, min(first, stop), step))
        high = len(range(start, min(last, stop), step))
        if low >= high:
            return None
        return (*box[: self.axis], (low, high), *box[self.axis + 1 :])

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The elements of the tensor, with those of the slice in their places."""
        base = evaluate(self.children[0], box)
        part = self.source(box)
        if part is None:
            return base
        source = expanded(evaluate(self.children[1], part), part)
        base = mapped(expanded(base, box), torch.clone)
        first, (low, high) = box[self.axis][0], part[self.axis]
        replaced = slice(
            self.indices[low] - first, self.indices[high - 1] - first + 1, self.indices.step
        )
        where = (slice(None),) * self.axis + (replaced,)
        base.value[where] = source.value.to(self.dtype)
        if base.is_pair is None and source.is_pair is None:
            return base
        pairs = base.is_pair
        if pairs is None:
            pairs = torch.zeros_like(base.value, dtype=torch.bool)
        pairs[where] = False if source.is_pair is None else source.is_pair
        return Planes(base.value, pairs)


class Triangle(Expression):
    """The elements on one side of a diagonal; the others are zero."""

    def __init__(self, child: Expression, diagonal: int, is_lower: bool) -> None:
        varies = [*child.varies[:-2], True, True]
        super().__init__(child.shape, child.dtype, varies, [child])
        self.diagonal = diagonal
        self.is_lower = is_lower

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The elements, or zero."""
        planes = evaluate(self.children[0], box)
        (first_row, last_row), (first_column, last_column) = box[-2:]
        offset = first_row - first_column + self.diagonal
        rows, columns = last_row - first_row, last_column - first_column
        kept = torch.ones(rows, columns, dtype=torch.bool)
        kept = kept.tril(offset) if self.is_lower else kept.triu(offset)
        zero = torch.zeros((), dtype=self.dtype)
        pairs = None if planes.is_pair is None else planes.is_pair & kept
        return Planes(torch.where(kept, planes.value, zero), pairs)
