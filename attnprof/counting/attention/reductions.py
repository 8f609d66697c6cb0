"""Expressions along whole axes: the softmax over keys, reductions, and outer products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from attnprof.counting.attention.expressions import Box, Evaluate, Expression, Planes


class Softmax(Expression):
    """Attention weights: scores that no mask has hidden are pairs.

    A mask is -inf or close to the least number of its type; a sum of it and a score is half of that
    at most.
    """

    def __init__(self, child: Expression) -> None:
        super().__init__(child.shape, child.dtype, child.varies, [child])
        self.is_weights = True
        self.threshold = torch.finfo(child.dtype).min / 2

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The scores, and which of them take part."""
        planes = evaluate(self.children[0], box)
        hidden = planes.value <= self.threshold
        if planes.is_pair is None:
            return planes
        return Planes(planes.value, planes.is_pair & ~hidden)


class Reduction(Expression):
    """Known values reduced along some axes, such as `aten.any.dim`.

    Args:
        operator: takes the tensor and further arguments.
        args: its arguments after the tensor.
        kwargs: its named arguments.
        child: the tensor.
        axes: along which it is reduced.
        shape: of the result.
        dtype: of the result.
    """

    def __init__(
        self,
        operator: Any,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        child: Expression,
        axes: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype,
    ) -> None:
        self.axes = frozenset(axes)
        self.keeps_axes = len(shape) == len(child.shape)
        kept = [False if axis in self.axes else v for axis, v in enumerate(child.varies)]
        if not self.keeps_axes:
            kept = [v for axis, v in enumerate(child.varies) if axis not in self.axes]
        super().__init__(shape, dtype, kept, [child])
        self.operator = operator
        self.args = tuple(args)
        self.kwargs = kwargs

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The result over whole axes."""
        child = self.children[0]
        places = iter(box)
        inside = list[tuple[int, int]]()
        for axis, size in enumerate(child.shape):
            is_reduced = axis in self.axes
            place = next(places) if self.keeps_axes or not is_reduced else (0, 1)
            inside.append((0, size) if is_reduced else place)
        value = evaluate(child, tuple(inside)).value
        # A sum counts equal elements as often as there are.
        sizes = [
            child.shape[axis] if axis in self.axes else value.shape[axis]
            for axis in range(value.dim())
        ]
        return Planes(self.operator(value.expand(sizes), *self.args, **self.kwargs).to(self.dtype))


class OuterProduct(Expression):
    """The product of two known batches of matrices, summed over few elements.

    Args:
        left: `(…, rows, inner)`.
        right: `(…, inner, columns)`.
        dtype: of the result.
    """

    def __init__(self, left: Expression, right: Expression, dtype: torch.dtype) -> None:
        shape = [*left.shape[:-1], right.shape[-1]]
        batch = [a or b for a, b in zip(left.varies[:-2], right.varies[:-2], strict=True)]
        super().__init__(shape, dtype, [*batch, left.varies[-2], right.varies[-1]], [left, right])

    def evaluate(self, box: Box, evaluate: Evaluate) -> Planes:
        """The product of some rows and some columns."""
        left, right = self.children
        inner = (0, left.shape[-1])
        rows = evaluate(left, (*box[:-2], box[-2], inner)).value
        columns = evaluate(right, (*box[:-2], inner, box[-1])).value
        rows = rows.expand([*rows.shape[:-1], inner[1]])
        columns = columns.expand([*columns.shape[:-2], inner[1], columns.shape[-1]])
        product = torch.matmul(rows.to(torch.float64), columns.to(torch.float64))
        return Planes(product.to(self.dtype))
