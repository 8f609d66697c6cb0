"""Count the pairs of an expression in parts, so that memory is bounded at every length."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch

from attnprof.counting.attention.bounds import bounds
from attnprof.counting.attention.expressions import (
    Box,
    Expression,
    Planes,
    UnknownValuesError,
    halves,
    lengths,
    varying,
)
from attnprof.counting.attention.intervals import Bounds
from attnprof.counting.attention.moves import before_moves
from attnprof.counting.attention.pointwise import LARGE

_PART_ELEMENTS = 2**16
_MOST_PENALTIES = 4


def count_pairs(weights: Expression) -> int:
    """Scores that are not hidden, in all of a tensor.

    Raises:
        UnknownValuesError: if values that decide on it are not known.
    """
    if 0 in weights.shape:
        return 0
    return _count_all(weights if weights.unknown else before_moves(weights, _count_all))


def _count_all(weights: Expression) -> int:
    copies = math.prod(
        size for size, varies in zip(weights.shape, weights.varies, strict=True) if not varies
    )
    whole = tuple(
        (0, size if varies else 1)
        for size, varies in zip(weights.shape, weights.varies, strict=True)
    )
    return copies * count_pairs_in(weights, [whole])


def count_pairs_in(weights: Expression, boxes: Iterable[Box]) -> int:
    """Scores that are not hidden, in parts of a tensor.

    Raises:
        UnknownValuesError: if values that decide on it are not known.
    """
    if weights.unknown:
        raise UnknownValuesError(weights.unknown)
    penalties = Penalties()
    with no_dispatch():
        pairs = sum(_count_in_box(weights, box, penalties) for box in boxes)
    return pairs - penalties.hidden


def _count_in_box(weights: Expression, box: Box, penalties: Penalties) -> int:
    """Pairs in a box, which is split where it is large and its pairs differ."""
    size = math.prod(lengths(box))
    part = _Part()
    known = part.bounds(weights, box)
    if known is not None and known.is_pair is False:
        return 0
    if known is not None and known.is_pair and known.low > -LARGE:
        return size
    if size > _PART_ELEMENTS:
        return sum(_count_in_box(weights, half, penalties) for half in halves(box))
    planes = part.evaluate(weights, box)
    if planes.is_pair is None:
        return 0
    penalties.add(planes.value, planes.is_pair, box)
    return int(planes.is_pair.sum()) * (size // planes.is_pair.numel())


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


class _Part:
    """Evaluates expressions on a part, and bounds them; each part of each expression once."""

    def __init__(self) -> None:
        self._planes: dict[tuple[Expression, Box], Planes] = {}
        self._bounds: dict[tuple[Expression, Box], Bounds | None] = {}

    def evaluate(self, expression: Expression, box: Box) -> Planes:
        """The elements in a box, of which those that are equal along an axis appear once."""
        key = (expression, varying(expression, box))
        if key not in self._planes:
            self._planes[key] = expression.evaluate(key[1], self.evaluate)
        return self._planes[key]

    def bounds(self, expression: Expression, box: Box) -> Bounds | None:
        """Bounds of the elements in a box; None if they are not known."""
        key = (expression, varying(expression, box))
        if key not in self._bounds:
            known = bounds(expression, key[1], self.bounds)
            if known is None and expression.is_known and _is_line(key[1]):
                value = self.evaluate(expression, key[1]).value
                known = Bounds(float(value.min()), float(value.max()))
            self._bounds[key] = known
        return self._bounds[key]


def _is_line(box: Box) -> bool:
    """Whether it is long in one axis at most: then its elements are few."""
    return sum(length > 1 for length in lengths(box)) <= 1
