"""Interval arithmetic: bounds of an operator's results from those of its arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

_aten = torch.ops.aten


class Bounds(NamedTuple):
    """What is known of all elements in a box.

    Attributes:
        low: no value is less.
        high: no value is greater.
        is_pair: whether all elements are pairs, or none is; None if that is not known.
    """

    low: float
    high: float
    is_pair: bool | None = False


def result_of(packet: Any, arguments: Sequence[Bounds]) -> Bounds | None:
    """Bounds of an operator's result; None if they are not known.

    Args:
        packet: the operator, with all its overloads.
        arguments: bounds of its arguments, in their order.
    """
    operations: dict[Any, Any] = (_UNARY, _BINARY, CHOICES)[min(len(arguments), 3) - 1]
    operation = operations.get(packet)
    if operation is None:
        return None
    result: Bounds | None = operation(*arguments)
    if result is None or math.isnan(result.low) or math.isnan(result.high):
        return None
    return result


def any_pair(children: Sequence[Bounds]) -> bool | None:
    """Whether elements made from those in the same places are pairs."""
    if any(child.is_pair for child in children):
        return True
    return None if any(child.is_pair is None for child in children) else False


def union(parts: Sequence[Bounds | None]) -> Bounds | None:
    """Bounds of elements that are in one of several boxes; None if those of any are not known."""
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    pairs = {part.is_pair for part in known}
    low, high = min(part.low for part in known), max(part.high for part in known)
    return Bounds(low, high, pairs.pop() if len(pairs) == 1 else None)


def _product(left: Bounds, right: Bounds) -> Bounds | None:
    ends = [a * b for a in left[:2] for b in right[:2]]
    return (
        Bounds(math.nan, math.nan) if any(map(math.isnan, ends)) else Bounds(min(ends), max(ends))
    )


def _truth(is_true: bool, is_false: bool) -> Bounds:
    return Bounds(float(is_true), float(not is_false))


def _where(condition: Bounds, chosen: Bounds, other: Bounds) -> Bounds | None:
    if condition.low == condition.high:
        return chosen if condition.low else other
    return union([chosen, other])


def _quotient(a: Bounds, b: Bounds) -> Bounds | None:
    if b.low != b.high or b.low == 0:
        return None
    ends = (a.low / b.low, a.high / b.low)
    return Bounds(min(ends), max(ends))


def _are_equal(a: Bounds, b: Bounds) -> bool:
    return a.low == a.high == b.low == b.high


def _are_disjoint(a: Bounds, b: Bounds) -> bool:
    return a.high < b.low or b.high < a.low


def _is_true(a: Bounds) -> bool:
    return a.low > 0 or a.high < 0


def _is_zero(a: Bounds) -> bool:
    return a.low == a.high == 0


_UNARY: dict[Any, Callable[[Bounds], Bounds]] = {
    _aten.neg: lambda a: Bounds(-a.high, -a.low),
    _aten.abs: lambda a: Bounds(max(a.low, -a.high, 0.0), max(-a.low, a.high)),
    _aten.logical_not: lambda a: _truth(_is_zero(a), _is_true(a)),
    _aten.clone: lambda a: a,
    _aten.tanh: lambda a: Bounds(math.tanh(a.low), math.tanh(a.high)),
}

_BINARY: dict[Any, Callable[[Bounds, Bounds], Bounds | None]] = {
    _aten.add: lambda a, b: Bounds(a.low + b.low, a.high + b.high),
    _aten.sub: lambda a, b: Bounds(a.low - b.high, a.high - b.low),
    _aten.rsub: lambda a, b: Bounds(b.low - a.high, b.high - a.low),
    _aten.mul: _product,
    _aten.div: _quotient,
    _aten.minimum: lambda a, b: Bounds(min(a.low, b.low), min(a.high, b.high)),
    _aten.maximum: lambda a, b: Bounds(max(a.low, b.low), max(a.high, b.high)),
    _aten.ge: lambda a, b: _truth(a.low >= b.high, a.high < b.low),
    _aten.gt: lambda a, b: _truth(a.low > b.high, a.high <= b.low),
    _aten.le: lambda a, b: _truth(a.high <= b.low, a.low > b.high),
    _aten.lt: lambda a, b: _truth(a.high < b.low, a.low >= b.high),
    _aten.eq: lambda a, b: _truth(_are_equal(a, b), _are_disjoint(a, b)),
    _aten.ne: lambda a, b: _truth(_are_disjoint(a, b), _are_equal(a, b)),
    _aten.logical_and: lambda a, b: _truth(_is_true(a) and _is_true(b), _is_zero(a) or _is_zero(b)),
    _aten.logical_or: lambda a, b: _truth(_is_true(a) or _is_true(b), _is_zero(a) and _is_zero(b)),
}

CHOICES: dict[Any, Callable[[Bounds, Bounds, Bounds], Bounds | None]] = {
    _aten.where: _where,
    _aten.masked_fill: lambda a, mask, fill: _where(mask, fill, a),
}
"""Operators that choose one of two elements: a pair only if a pair is chosen."""

OF_TRUTH_VALUES: dict[Any, Any] = {
    _aten.bitwise_and: _aten.logical_and,
    _aten.bitwise_or: _aten.logical_or,
    _aten.bitwise_not: _aten.logical_not,
    _aten.mul: _aten.logical_and,
    _aten.add: _aten.logical_or,
}
"""What operators mean for values that are true or false."""
