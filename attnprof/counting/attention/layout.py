"""Expressions that move elements: axes swapped, split, cut, padded, joined and overwritten."""

from __future__ import annotations

import math
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

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The same elements in another order."""
        inside = [(0, 0)] * len(box)
        for axis, part in zip(self.axes, box, strict=True):
            inside[axis] = part
        planes = evaluate(self.children[0], tuple(inside))
        return mapped(planes, lambda plane: plane.permute(self.axes))


class Expand(Expression):
    """Axes of length 1 repeated, and new axes in front."""

    def __init__(self, child: Expression, shape: Sequence[int]) -> None:
        new = len(shape) - len(child.shape)
        super().__init__(shape, child.dtype, [False] * new + list(child.varies), [child])
        self.new = new

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The elements that are repeated, once."""
        planes = evaluate(self.children[0], box[self.new :])
        return mapped(planes, lambda plane: plane[(None,) * self.new])


class Select(Expression):
    """Elements along one axis, by index, such as those of a slice, or all in reverse order."""

    def __init__(self, child: Expression, axis: int, indices: range) -> None:
        shape = [*child.shape[:axis], len(indices), *child.shape[axis + 1 :]]
        super().__init__(shape, child.dtype, child.varies, [child])
        self.axis = axis
        self.indices = indices

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The elements at the indices."""
        first, last = box[self.axis]
        chosen = self.indices[first:last]
        low, high = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1])
        inside = (*box[: self.axis], (low, high + 1), *box[self.axis + 1 :])
        planes = evaluate(self.children[0], inside)

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

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The one value."""
        child = self.children[0]
        planes = evaluate(child, ((0, 1),) * len(child.shape))
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

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The elements of each tensor that is touched."""
        first, last = box[self.axis]
        start, parts = 0, list[Planes]()
        for child in self.children:
            stop = start + child.shape[self.axis]
            low, high = max(first, start), min(last, stop)
            if low < high:
                inside = (
                    *box[: self.axis],
                    (low - start, high - start),
                    *box[self.axis + 1 :],
                )
                parts.append(expanded(evaluate(child, inside), inside))
            start = stop
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
        self.before = [before for before, _ in edges]
        self.fill = fill

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The elements inside, with those around them."""
        child = self.children[0]
        inside = list[tuple[int, int]]()
        around = list[int]()
        for (first, last), before, size in zip(box, self.before, child.shape, strict=True):
            low = min(max(first - before, 0), size)
            high = min(max(last - before, low), size)
            inside.append((low, high))
            around = [max(0, before - first), 0, *around]
            around[1] = (last - first) - around[0] - (high - low)
        if any(low == high for low, high in inside):
            return Planes(torch.full([1] * len(box), self.fill, dtype=self.dtype))
        planes = expanded(evaluate(child, tuple(inside)), tuple(inside))
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

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The elements of the tensor, with those of the slice in their places."""
        first, last = box[self.axis]
        start, stop, step = self.indices.start, self.indices.stop, self.indices.step
        low = len(range(start, min(first, stop), step))
        high = len(range(start, min(last, stop), step))
        base = evaluate(self.children[0], box)
        if low >= high:
            return base
        part = (*box[: self.axis], (low, high), *box[self.axis + 1 :])
        source = expanded(evaluate(self.children[1], part), part)
        base = mapped(expanded(base, box), torch.clone)
        replaced = slice(self.indices[low] - first, self.indices[high - 1] - first + 1, step)
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


class Reshape(Expression):
    """Elements in the same order in another shape.

    Axes are split into groups, of which each has as many elements before as after.
    """

    def __init__(self, child: Expression, shape: Sequence[int]) -> None:
        self.groups = _groups(child.shape, tuple(shape))
        varies = [False] * len(shape)
        for before, after in self.groups:
            if any(child.varies[axis] for axis in before):
                for axis in after:
                    varies[axis] = True
        super().__init__(shape, child.dtype, varies, [child])

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """Each group as a run of elements, from the first that is needed to the last."""
        child = self.children[0]
        inside = [(0, 1)] * len(child.shape)
        cuts = list[_Cut]()
        for before, after in self.groups:
            sizes = [child.shape[axis] for axis in before]
            new_sizes = [self.shape[axis] for axis in after]
            part = tuple(box[axis] for axis in after)
            if not any(self.varies[axis] for axis in after):
                part = tuple((0, 1) for _ in after)
                cuts.append(_Cut((1,) * len(before), slice(0, 1), (1,) * len(after), part))
                continue
            cover = _cover(*_run(part, new_sizes), new_sizes)
            start, stop = _run(cover, new_sizes)
            source = _cover(start, stop, sizes)
            for axis, span in zip(before, source, strict=True):
                inside[axis] = span
            offset = start - _run(source, sizes)[0]
            relative = tuple(
                (first - low, last - low)
                for (first, last), (low, _) in zip(part, cover, strict=True)
            )
            cuts.append(
                _Cut(
                    tuple(lengths(source)),
                    slice(offset, offset + stop - start),
                    tuple(lengths(cover)),
                    relative,
                )
            )
        planes = evaluate(child, tuple(inside))
        return mapped(planes, lambda plane: _cut_groups(plane, cuts))


class _Cut:
    """How one group of axes is reshaped: its lengths, the run that is cut out, the new lengths."""

    def __init__(
        self, lengths: tuple[int, ...], run: slice, new: tuple[int, ...], part: Box
    ) -> None:
        self.lengths = lengths
        self.run = run
        self.new = new
        self.part = part


def _cut_groups(plane: Tensor, cuts: Sequence[_Cut]) -> Tensor:
    """Reshape each group of axes; one whose elements are all equal keeps length 1."""
    done = 0
    for cut in cuts:
        axes = len(cut.lengths)
        shape = list(plane.shape)
        group = shape[done : done + axes]
        if math.prod(group) == 1:
            plane = plane.reshape([*shape[:done], *[1] * len(cut.new), *shape[done + axes :]])
        else:
            front, back = shape[:done], shape[done + axes :]
            plane = plane.expand([*front, *cut.lengths, *back]).reshape([*front, -1, *back])
            plane = plane[(slice(None),) * done + (cut.run,)]
            plane = plane.reshape([*front, *cut.new, *back])
            part = tuple(slice(first, last) for first, last in cut.part)
            plane = plane[(slice(None),) * done + part]
        done += len(cut.new)
    return plane


def _groups(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """The axes of two shapes of equally many elements, in the smallest groups that correspond."""
    groups = list[tuple[list[int], list[int]]]()
    old = new = 0
    while old < len(before) or new < len(after):
        first_old, first_new = old, new
        old, new = min(old + 1, len(before)), min(new + 1, len(after))
        while (size := math.prod(before[first_old:old])) != (
            new_size := math.prod(after[first_new:new])
        ):
            if size < new_size:
                old += 1
            else:
                new += 1
        groups.append((list(range(first_old, old)), list(range(first_new, new))))
    return groups


def _run(box: Box, sizes: Sequence[int]) -> tuple[int, int]:
    """The first element of a box and the last, excluded, in the order of the elements."""
    first = last = 0
    for (low, high), size in zip(box, sizes, strict=True):
        first = first * size + low
        last = last * size + high - 1
    return first, last + 1


def _cover(first: int, last: int, sizes: Sequence[int]) -> Box:
    """The smallest box that holds a run of elements and is itself a run."""
    box = list[tuple[int, int]]()
    for axis in range(len(sizes)):
        inner = math.prod(sizes[axis + 1 :])
        low, high = first // inner, (last - 1) // inner + 1
        if high - low > 1:
            box.append((low, high))
            box += [(0, rest) for rest in sizes[axis + 1 :]]
            return tuple(box)
        box.append((low, high))
        first, last = first - low * inner, last - low * inner
    return tuple(box)
