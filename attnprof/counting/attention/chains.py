"""Attention as a chain of operators: a product, masks, a softmax, and products with values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from attnprof.counting.aten_operators import aten_operators
from attnprof.counting.attention.calls import AttentionCall
from attnprof.counting.attention.discarded import Output, Reads, discarded_rows, pairs_of_rows
from attnprof.counting.attention.expressions import Data, Expression, counted_or_reason
from attnprof.counting.attention.tensors import (
    NO_ORIGIN,
    Origin,
    Product,
    TrackedTensors,
    added,
    joined,
)

_aten = torch.ops.aten

PRODUCTS = {
    **dict.fromkeys(aten_operators("bmm mm"), ("self", "mat2")),
    **dict.fromkeys(aten_operators("baddbmm"), ("batch1", "batch2")),
    **dict.fromkeys(aten_operators("addmm"), ("mat1", "mat2")),
}
"""Operators that multiply matrices, with the names of the two."""

SOFTMAXES = aten_operators("_softmax softmax _safe_softmax")

_OF_SDPA = aten_operators("_safe_softmax")
"""Softmaxes that only `scaled_dot_product_attention` calls."""

CountPairs = Callable[[Expression], int]
"""Counts the pairs of an expression, or raises `UnknownValuesError`."""


@dataclass(slots=True, eq=False)
class Softmax:
    """One softmax over scores, and the products of its weights with values.

    Attributes:
        module_path: of the module that computes it.
        is_of_sdpa: whether `scaled_dot_product_attention` computes it.
        shape: of the scores.
        products: of queries and keys that its scores come from.
        weights: what it returns.
        parts: what is multiplied with values, each part of the weights.
        discarded: rows of parts whose output is written over, by the output.
        context_macs: MACs of the products with values.
        value_dim: elements of a value.
    """

    module_path: str
    is_of_sdpa: bool
    shape: tuple[int, ...]
    products: frozenset[Product]
    weights: Expression
    parts: list[Expression] = field(default_factory=list)
    discarded: dict[Output, set[int]] = field(default_factory=dict)
    context_macs: int = 0
    value_dim: int = 0


@dataclass(slots=True)
class Chains:
    """The chains of operators of one run.

    Attributes:
        tensors: the expressions of tensors.
        softmaxes: all over scores, in running order.
        outputs: products of weights and values, with the softmax of the weights.
        reads: what reads them.
    """

    tensors: TrackedTensors
    softmaxes: list[Softmax] = field(default_factory=list)
    outputs: dict[Output, Softmax] = field(default_factory=dict)
    reads: Reads = field(default_factory=Reads)

    def softmax(
        self, packet: Any, scores: Tensor, result: Tensor, module_path: str
    ) -> Softmax | None:
        """Follow a softmax; None if it is not over scores."""
        origin = self.tensors.origin(scores)
        if not origin.products:
            return None
        weights = self.tensors.build.softmax(self.tensors.expression(scores))
        self.tensors.add(result, weights, Origin(softmaxes=frozenset([len(self.softmaxes)])))
        softmax = Softmax(
            module_path, packet in _OF_SDPA, tuple(scores.shape), origin.products, weights
        )
        self.softmaxes.append(softmax)
        return softmax

    def product(
        self, packet: Any, named: dict[str, Any], result: Tensor, macs: int, module_path: str
    ) -> None:
        """Follow a product of two matrices, or of batches of them."""
        left, right = (named[name] for name in PRODUCTS[packet])
        for weights, value_dim in ((left, right.shape[-1]), (right, left.shape[-2])):
            softmaxes = self.tensors.origin(weights).softmaxes
            if softmaxes:
                part = self.tensors.expression(weights)
                self._add_context(self.softmaxes[min(softmaxes)], part, macs, value_dim)
                if weights is left:
                    output = Output(result.shape, result.dtype, part)
                    self.outputs[output] = self.softmaxes[min(softmaxes)]
                    self.tensors.add(result, output)
                return
        expressions = [self.tensors.expression(tensor) for tensor in (left, right)]
        if any(isinstance(child, Data) and child.is_parameter for child in expressions):
            return
        inner = left.shape[-1]
        if inner == 1 and all(child.is_known for child in expressions):
            known = self.tensors.build.outer_product(expressions[0], expressions[1], result.dtype)
            self.tensors.add(result, known)
            return
        product = Product(module_path, result.numel(), inner, macs, self.tensors.copies_of(right))
        origin = Origin(frozenset([product]))
        scores = self.tensors.build.scores(result.shape, result.dtype)
        if packet is _aten.baddbmm or packet is _aten.addmm:
            scores = self._with_addend(named, scores)
        self.tensors.add(result, scores, origin)

    def _with_addend(self, named: dict[str, Any], scores: Expression) -> Expression:
        if named["beta"] == 0:
            return scores
        addend = self.tensors.expression(named["self"])
        return self.tensors.build.sum(scores, addend, named["beta"])

    @staticmethod
    def _add_context(softmax: Softmax, part: Expression, macs: int, value_dim: int) -> None:
        softmax.parts.append(part)
        softmax.context_macs += macs
        softmax.value_dim = value_dim

    def write_over(self, target: Tensor, indices: Sequence[Tensor | None]) -> None:
        """Follow a write to elements of a tensor: rows of attention may be lost by it."""
        for output, rows in discarded_rows(self.tensors.expression(target), indices):
            self._discard(output, rows)

    def discard_lost_rows(self) -> None:
        """Rows of attention that nothing reads are not needed, once the call has run."""
        for output, rows in self.reads.lost_rows():
            self._discard(output, rows)

    def _discard(self, output: Output, rows: set[int]) -> None:
        self.outputs[output].discarded.setdefault(output, set()).update(rows)


def call_of_chain(softmax: Softmax, counted: set[Product], count: CountPairs) -> AttentionCall:
    """What a chain needs and executes.

    Args:
        softmax: its softmax, with at least one product of its weights and values.
        counted: products whose MACs belong to earlier calls; those of this one are added.
        count: counts pairs.
    """
    products = softmax.products - counted
    counted |= softmax.products
    attended, unknown = counted_or_reason(lambda: _attended(softmax, count))
    batch, heads = _batch_and_heads(softmax.shape)
    first = max(softmax.products, key=lambda product: product.pairs)
    return AttentionCall(
        module_path=softmax.module_path,
        implementation="scaled_dot_product_attention" if softmax.is_of_sdpa else "eager",
        batch=batch,
        heads=heads,
        kv_heads=max(1, heads // first.key_copies),
        queries=math.prod(softmax.shape[-2:-1]),
        keys=math.prod(softmax.shape[-1:]),
        head_dim=first.inner,
        value_dim=softmax.value_dim,
        executed_pairs=sum(product.pairs for product in softmax.products),
        attended_pairs=attended,
        executed_macs=sum(product.macs for product in products) + softmax.context_macs,
        unknown=unknown,
    )


def _attended(softmax: Softmax, count: CountPairs) -> int:
    """Pairs that reach a product with values: each counts once, however often it does."""
    pairs = sum(count(part) for part in softmax.parts)
    if len(softmax.parts) > 1:
        pairs = min(pairs, count(softmax.weights))
    return pairs - sum(pairs_of_rows(*discarded) for discarded in softmax.discarded.items())


def _batch_and_heads(shape: Sequence[int]) -> tuple[int, int]:
    """Batch and heads of scores `(batch, …, queries, keys)`, `(heads, queries, keys)` or less."""
    if len(shape) < 4:
        return 1, math.prod(shape[:-2])
    return shape[0], math.prod(shape[1:-2])


def combined_origin(
    tensors: TrackedTensors, inputs: Sequence[Tensor], elements: int | None
) -> Origin:
    """The origin of a result.

    Args:
        tensors: the origins of tensors.
        inputs: of the operator.
        elements: of the result, if each follows from those in the same place; None if the result
            holds parts of the inputs.
    """
    origins = [tensors.origin(tensor) for tensor in inputs]
    origins = [origin for origin in origins if origin != NO_ORIGIN]
    if not origins:
        return NO_ORIGIN
    return joined(origins) if elements is None else added(origins, elements)
