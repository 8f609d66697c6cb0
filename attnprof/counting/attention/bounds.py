"""Bounds of an expression's values in a box, to count large uniform parts of masks at once.

Below the diagonal of a causal mask, for example, every key is earlier than every query: interval
arithmetic shows that all pairs of a box there are attended, without computing each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

import torch

from attnprof.counting.attention.expressions import (
    Box,
    Constant,
    Data,
    Expression,
    Fill,
    Scores,
    lengths,
)
from attnprof.counting.attention.intervals import (
    CHOICES,
    OF_TRUTH_VALUES,
    Bounds,
    any_pair,
    result_of,
    union,
)
from attnprof.counting.attention.layout import (
    Cat,
    Expand,
    Overwrite,
    Pad,
    Permute,
    Respread,
    Select,
    Triangle,
)
from attnprof.counting.attention.pointwise import Argument, Cast, Pointwise, is_data
from attnprof.counting.attention.reductions import Softmax
from attnprof.counting.attention.reshaping import Reshape

_aten = torch.ops.aten

_MOST_ELEMENTS = 2**17
"""Bounds of more constants than that are not computed: parts of them are, later."""


BoundsOf = Callable[[Expression, Box], "Bounds | None"]
"""Bounds of part of an expression; None if they are not known."""


@singledispatch
def bounds(expression: Expression, box: Box, bounds_of: BoundsOf) -> Bounds | None:
    """Bounds of the values in a box, from those of the expressions that it follows from.

    Args:
        expression: any.
        box: of length 1 along axes that do not vary.
        bounds_of: returns bounds of other expressions.
    """
    return None


@bounds.register
def _(expression: Constant, box: Box, bounds_of: BoundsOf) -> Bounds | None:
    if math.prod(lengths(box)) > _MOST_ELEMENTS:
        return None
    value = expression.evaluate(box, _no_parts).value
    return Bounds(float(value.min()), float(value.max()))


@bounds.register
def _(expression: Fill, box: Box, bounds_of: BoundsOf) -> Bounds | None:
    return Bounds(float(expression.fill.real), float(expression.fill.real))


@bounds.register
def _(expression: Scores, box: Box, bounds_of: BoundsOf) -> Bounds | None:
    return Bounds(0, 0, True)


@bounds.register
def _(expression: Data, box: Box, bounds_of: BoundsOf) -> Bounds | None:
    return Bounds(0, 0)


# --- layout ---------------------------------------------------------------------------------------


@bounds.register(Permute)
@bounds.register(Expand)
@bounds.register(Select)
@bounds.register(Respread)
@bounds.register(Reshape)
def _(expression: Any, box: Box, bounds_of: BoundsOf) -> Bounds | None:
    """The bounds of the elements that are moved, or of a box around them."""
    return bounds_of(expression.children[0], expression.source(box))


@bounds.register
def _(expression: Cat, box: Box, bounds_of: BoundsOf) -> Bounds | None:
    return union([bounds_of(child, part) for child, part in expression.sources(box)])


@bounds.register
def _(expression: Pad, box: Box, bounds_of: BoundsOf) -> Bounds | None:
    inside = expression.source(box)
    around = Bounds(expression.fill, expression.fill)
    if 0 in lengths(inside):
        return around
    of_child = bounds_of(expression.children[0], inside)
    return of_child if lengths(inside) == lengths(box) else union([of_child, around])


@bounds.register
def _(expression: Overwrite, box: Box, bounds_of: BoundsOf) -> Bounds | None:
    base, source = expression.children
    part = expression.source(box)
    if part is None:
        return bounds_of(base, box)
    of_source = bounds_of(source, part)
    if lengths(part) == lengths(box):
        return of_source
    return union([bounds_of(base, box), of_source])


@bounds.register
def _(expression: Triangle, box: Box, bounds_of: BoundsOf) -> Bounds | None:
    (first_row, last_row), (first_column, last_column) = box[-2:]
    # A row keeps columns up to its number plus the diagonal, or from there on.
    least = first_row + expression.diagonal - (last_column - 1)
    most = last_row - 1 + expression.diagonal - first_column
    if not expression.is_lower:
        least, most = -most, -least
    zero = Bounds(0, 0)
    if most < 0:
        return zero
    child = bounds_of(expression.children[0], box)
    return child if least >= 0 else union([child, zero])


# --- elements in the same place -------------------------------------------------------------------


@bounds.register
def _(expression: Cast, box: Box, bounds_of: BoundsOf) -> Bounds | None:
    child = bounds_of(expression.children[0], box)
    if child is None or expression.is_weights:
        return child
    ends = torch.tensor([child.low, child.high], dtype=expression.children[0].dtype)
    low, high = ends.to(expression.dtype).tolist()
    return Bounds(float(low), float(high), child.is_pair)


@bounds.register
def _(expression: Softmax, box: Box, bounds_of: BoundsOf) -> Bounds | None:
    child = bounds_of(expression.children[0], box)
    if child is None or child.low > expression.threshold:
        return child
    is_pair = False if child.high <= expression.threshold or child.is_pair is False else None
    return Bounds(child.low, child.high, is_pair)


@bounds.register
def _(expression: Pointwise, box: Box, bounds_of: BoundsOf) -> Bounds | None:
    children = list[Bounds]()
    for child in expression.children:
        of_child = bounds_of(child, expression.source(child, box))
        if of_child is None:
            return None
        children.append(of_child)
    if expression.is_weights:
        return _of_weights(expression, children)
    if expression.has_factors:
        is_factor = [is_data(child) for child in expression.children]
        if any(is_factor) and not expression.has_scores:
            return None
        children = [
            Bounds(1, 1) if factor else child
            for factor, child in zip(is_factor, children, strict=True)
        ]
    ends = _ends(expression, children)
    if ends is None or _packet(expression) in CHOICES:
        return ends
    return Bounds(ends.low, ends.high, any_pair(children))


def _packet(expression: Pointwise) -> Any:
    packet = expression.operator.overloadpacket
    return OF_TRUTH_VALUES.get(packet, packet) if expression.dtype == torch.bool else packet


def _ends(expression: Pointwise, children: Sequence[Bounds]) -> Bounds | None:
    """The least and the greatest value, rounded as the operator rounds them."""
    arguments = [
        children[argument.index] if isinstance(argument, Argument) else argument
        for argument in expression.args
    ]
    numbers = all(isinstance(argument, Bounds | int | float) for argument in arguments)
    if not numbers or expression.kwargs:
        return None
    ends = result_of(
        _packet(expression),
        [a if isinstance(a, Bounds) else Bounds(float(a), float(a)) for a in arguments],
    )
    if ends is None:
        return None
    if expression.dtype.is_floating_point and expression.dtype != torch.float64:
        rounded = torch.tensor(ends[:2], dtype=torch.float64).to(expression.dtype).tolist()
        return Bounds(rounded[0], rounded[1], ends.is_pair)
    return ends


def _of_weights(expression: Pointwise, children: Sequence[Bounds]) -> Bounds | None:
    """Attention weights, of which an operator may hide some; the values stay those of scores."""
    packet = expression.operator.overloadpacket
    flags = [child.is_weights for child in expression.children]
    weights = children[flags.index(True)]
    if packet in CHOICES:
        ends = _ends(expression, children)
        return None if ends is None else Bounds(weights.low, weights.high, ends.is_pair)
    is_pair = any_pair(children)
    if packet is _aten.mul:
        for child, of_child in zip(expression.children, children, strict=True):
            if child.is_known and of_child.low <= 0 <= of_child.high:
                is_pair = False if of_child.low == of_child.high else None
    return Bounds(weights.low, weights.high, is_pair)


def _no_parts(expression: Expression, box: Box) -> Any:
    raise TypeError("a constant has no parts")
