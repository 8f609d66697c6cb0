"""Attention weights before they were moved: rearranged, padded and cut.

A sparse kernel moves its weights into a shape that a batched product takes. Longformer's, for
example, are skewed by padding and cutting rows. Where no weight is lost by that, the pairs are
those of the weights before, whose expression is much simpler: all heads, for example, are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from attnprof.counting.attention.expressions import Expression, Scores
from attnprof.counting.attention.layout import Pad, Permute, Select
from attnprof.counting.attention.pointwise import Cast
from attnprof.counting.attention.reshaping import Reshape

_Move = Callable[[Expression], Expression]
"""Moves the elements of an expression as those of another one are moved."""


def before_moves(weights: Expression, count: Callable[[Expression], int]) -> Expression:
    """The expression of all elements that are moved into weights, if none of them is lost.

    None appears twice, and elements of padding are no pairs, so that there are as many pairs.

    Args:
        weights: an expression.
        count: counts the pairs of an expression.
    """
    moves, sources = list[_Move](), [weights]
    while (move := _move_of(sources[-1])) is not None:
        moves.append(move)
        sources.append(sources[-1].children[0])
    for steps in range(len(moves), 0, -1):
        if _keeps_all(moves[:steps], sources[steps], count):
            return sources[steps]
    return weights


def _move_of(expression: Expression) -> _Move | None:
    """How an expression moves elements of its child, each to one place at most; None if not so."""
    if isinstance(expression, Permute):
        return lambda child: Permute(child, expression.axes)
    if isinstance(expression, Reshape):
        return lambda child: Reshape(child, expression.shape)
    if isinstance(expression, Select):
        return lambda child: Select(child, expression.axis, expression.indices)
    if isinstance(expression, Pad):
        return lambda child: Pad(child, expression.pads, expression.fill)
    if isinstance(expression, Cast) and expression.is_weights:
        return lambda child: child
    return None


def _keeps_all(moves: list[_Move], source: Expression, count: Callable[[Expression], int]) -> bool:
    """Whether all elements of a source are moved: pairs are counted as if each were one."""
    moved: Expression = Scores(source.shape, source.dtype)
    for move in reversed(moves):
        moved = move(moved)
    return count(moved) == math.prod(source.shape)
