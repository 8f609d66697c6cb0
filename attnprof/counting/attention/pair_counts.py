"""Count the pairs of an expression in strips, so that memory is bounded at every length."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator

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


def count_pairs(weights: Expression) -> int:
    """Scores that are not hidden, in all of a tensor.

    Raises:
        UnknownValuesError: if values that decide on it are not known.
    """
    copies = math.prod(
        size for size, varies in zip(weights.shape, weights.varies, strict=True) if not varies
    )
    return copies * count_pairs_in(weights, _strips(weights)) if copies else 0


def count_pairs_in(weights: Expression, boxes: Iterable[Box]) -> int:
    """Scores that are not hidden, in parts of a tensor.

    Raises:
        UnknownValuesError: if values that decide on it are not known.
    """
    if weights.unknown:
        raise UnknownValuesError(weights.unknown)
    pairs, penalties = 0, Penalties()
    with no_dispatch():
        for box in boxes:
            planes = _Strip().evaluate(weights, box)
            if planes.is_pair is not None:
                pairs += _count(planes.is_pair, box)
                penalties.add(planes.value, planes.is_pair, box)
    return pairs - penalties.hidden


class Penalties:
    """Large negative numbers that are added to scores: masks, or a bias such as that of ALiBi.

    A mask such as `(1 - mask) * -10000` is one number; where several are added up, a multiple.
    """

    def __init__(self) -> None:
        self._pairs = Counter[float]()
        self._is_bias = False

    def add(self, value: Tensor, is_pair: Tensor, box: Box) -> None:
        """Count the pairs of a box that have a large negative value."""
        low = value <= -LARGE
        if self._is_bias or not bool(low.any()):
            return
        value, is_low = torch.broadcast_tensors(value, is_pair & low)
        found, counts = value[is_low].unique(return_counts=True)
        self._is_bias = len(found) > _MOST_PENALTIES
        if self._is_bias:
            return
        copies = math.prod(lengths(box)) // is_low.numel()
        for penalty, count in zip(found.tolist(), counts.tolist(), strict=True):
            self._pairs[penalty] += count * copies

    @property
    def hidden(self) -> int:
        """The pairs that are masked by them."""
        if self._is_bias or not self._pairs or len(self._pairs) > _MOST_PENALTIES:
            return 0
        least = max(self._pairs)
        multiples = [penalty / least for penalty in self._pairs]
        is_mask = all(abs(multiple - round(multiple)) < 0.01 for multiple in multiples)
        return sum(self._pairs.values()) if is_mask else 0


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
