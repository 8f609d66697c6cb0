"""Count the pairs of an expression in strips, so that memory is bounded at every length."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch

from attnprof.counting.attention.expressions import (
    Box,
    Expression,
    Planes,
    UnknownValuesError,
    lengths,
)
from attnprof.counting.attention.pointwise import LARGE

_STRIP_ELEMENTS = 2**20
_MOST_PENALTIES = 4
_MOST_DISTINCT = 64


def count_pairs(weights: Expression) -> int:
    """Scores that are not hidden, in all of a tensor.

    Raises:
        UnknownValuesError: if values that decide on it are not known.
    """
    if weights.unknown:
        raise UnknownValuesError(weights.unknown)
    if 0 in weights.shape:
        return 0
    copies = math.prod(
        size for size, varies in zip(weights.shape, weights.varies, strict=True) if not varies
    )
    pairs, penalties = 0, Counter[float]()
    with no_dispatch():
        for box in _strips(weights):
            planes = _Strip().evaluate(weights, box)
            if planes.is_pair is None:
                continue
            pairs += _count(planes.is_pair, box)
            if len(penalties) <= _MOST_DISTINCT:
                _add_penalties(planes, box, penalties)
    if _are_masks(penalties):
        pairs -= sum(penalties.values())
    return copies * pairs


class _Strip:
    """Evaluates expressions on a part; each part of each expression once."""

    def __init__(self) -> None:
        self._done: dict[tuple[int, Box], Planes] = {}

    def evaluate(self, expression: Expression, box: Box) -> Planes:
        """The elements in a box, of which those that are equal along an axis appear once."""
        box = tuple(
            part if varies else (0, 1) for part, varies in zip(box, expression.varies, strict=True)
        )
        key = (id(expression), box)
        if key not in self._done:
            self._done[key] = expression.evaluate(box, self.evaluate)
        return self._done[key]


def _strips(expression: Expression) -> Iterator[Box]:
    """Boxes that cover an expression, each as large as one strip or smaller."""
    sizes = [
        size if varies else 1
        for size, varies in zip(expression.shape, expression.varies, strict=True)
    ]

    def split(axis: int, done: Box) -> Iterator[Box]:
        if axis == len(sizes):
            yield done
            return
        inner = math.prod(sizes[axis + 1 :])
        step = max(1, _STRIP_ELEMENTS // inner)
        for first in range(0, sizes[axis], step):
            yield from split(axis + 1, (*done, (first, min(first + step, sizes[axis]))))

    return split(0, ())


def _count(is_true: Tensor, box: Box) -> int:
    """True elements, those that are equal along an axis of the box included."""
    return int(is_true.sum()) * (math.prod(lengths(box)) // is_true.numel())


def _add_penalties(planes: Planes, box: Box, penalties: Counter[float]) -> None:
    """Count pairs from whose scores a large number is subtracted, by that number."""
    low = planes.value <= -LARGE
    if planes.is_pair is None or not bool(low.any()):
        return
    value, is_low = torch.broadcast_tensors(planes.value, planes.is_pair & low)
    found, counts = value[is_low].unique(return_counts=True)
    if len(found) > _MOST_DISTINCT:
        penalties.update(range(_MOST_DISTINCT + 1))  # a bias that grows with distance
        return
    copies = math.prod(lengths(box)) // is_low.numel()
    for penalty, count in zip(found.tolist(), counts.tolist(), strict=True):
        penalties[penalty] += count * copies


def _are_masks(penalties: Counter[float]) -> bool:
    """Whether large negative numbers are masks, not biases such as those of ALiBi.

    A mask such as `(1 - mask) * -10000` is one number; where several are added up, a multiple.
    """
    if not penalties or len(penalties) > _MOST_PENALTIES:
        return False
    least = max(penalties)
    return all(abs(penalty / least - round(penalty / least)) < 0.01 for penalty in penalties)
