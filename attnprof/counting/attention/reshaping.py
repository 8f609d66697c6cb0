"""The expression of a tensor in another shape, with its elements in the same order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from attnprof.counting.attention.expressions import (
    Box,
    Evaluate,
    Expression,
    Planes,
    lengths,
    mapped,
)


@dataclass(frozen=True, slots=True)
class _Cut:
    """How one group of axes is reshaped.

    Attributes:
        lengths: of its axes in the part that is needed.
        run: elements of the flattened part.
        new: the lengths of the new axes that hold this run.
        part: of them, what is needed.
    """

    lengths: tuple[int, ...]
    run: slice
    new: tuple[int, ...]
    part: Box


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

    def source(self, box: Box) -> Box:
        """A part that holds all elements of a box."""
        return self._cuts(box)[0]

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """Each group as a run of elements, from the first that is needed to the last."""
        inside, cuts = self._cuts(box)
        planes = evaluate(self.children[0], inside)
        return mapped(planes, lambda plane: _cut_groups(plane, cuts))

    def _cuts(self, box: Box) -> tuple[Box, list[_Cut]]:
        """The part of the child that is needed, and how each group of axes is reshaped."""
        child = self.children[0]
        inside = [(0, 1)] * len(child.shape)
        cuts = list[_Cut]()
        for before, after in self.groups:
            if not any(self.varies[axis] for axis in after):
                ones = (1,) * len(after)
                part = ((0, 1),) * len(after)
                cuts.append(_Cut((1,) * len(before), slice(0, 1), ones, part))
                continue
            old_sizes = [child.shape[axis] for axis in before]
            cut, source = _cut(old_sizes, [self.shape[axis] for axis in after], box[after[0] :])
            cuts.append(cut)
            for axis, span in zip(before, source, strict=True):
                inside[axis] = span
        return tuple(inside), cuts


def _cut(sizes: Sequence[int], new_sizes: Sequence[int], box: Box) -> tuple[_Cut, Box]:
    """How a group of axes is reshaped, and the part of it that is needed.

    Args:
        sizes: lengths of its axes.
        new_sizes: their new lengths.
        box: the part that is needed, of the new axes and perhaps of others after them.
    """
    part = box[: len(new_sizes)]
    cover = _cover(*_run(part, new_sizes), new_sizes)
    start, stop = _run(cover, new_sizes)
    source = _cover(start, stop, sizes)
    offset = start - _run(source, sizes)[0]
    relative = tuple(
        (first - low, last - low) for (first, last), (low, _) in zip(part, cover, strict=True)
    )
    run = slice(offset, offset + stop - start)
    return _Cut(tuple(lengths(source)), run, tuple(lengths(cover)), relative), source


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
