"""FlexAttention: its mask and its score function as expressions, evaluated in the listed blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import flex_attention
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from attnprof.counting.attention.calls import AttentionCall
from attnprof.counting.attention.expressions import Box, Expression, counted_or_reason
from attnprof.counting.attention.pair_counts import count_pairs_in
from attnprof.counting.attention.tensors import Origin, TrackedTensors
from attnprof.counting.constant_propagation import constant_value

Run = Callable[[Any, "tuple[Any, ...]", "dict[str, Any]", Callable[[], Any]], Any]
"""Runs an operator and follows what it does."""

CountInBlocks = Callable[[Expression, "ListedBlocks"], int]
"""Counts the pairs of weights in listed blocks, or raises `UnknownValuesError`."""


@dataclass(frozen=True, slots=True, eq=False)
class ListedBlocks:
    """Blocks that a block mask lists.

    Attributes:
        counts: how many blocks of keys each block of queries lists, `(batch, heads, blocks)`.
        indices: which ones, of which the first `counts` are valid, `(…, blocks, key blocks)`.
        rows: queries of a block.
        columns: keys of a block.
    """

    counts: Tensor
    indices: Tensor
    rows: int
    columns: int

    def count(self, weights: Expression) -> int:
        """Pairs of weights `(batch, heads, queries, keys)` in the blocks.

        A list of one sequence or of one head applies to all of them.
        """
        shape = weights.shape
        counted = [
            size if varies else listed
            for size, varies, listed in zip(
                shape[:2], weights.varies[:2], self.counts.shape[:2], strict=True
            )
        ]
        boxes = (
            box
            for item, head in product(*map(range, counted))
            for box in self._boxes_of_head(item, head, shape)
        )
        copies = math.prod(shape[:2]) // math.prod(counted)
        with no_dispatch():
            return copies * count_pairs_in(weights, boxes)

    def _boxes_of_head(self, item: int, head: int, shape: Sequence[int]) -> Iterator[Box]:
        queries, keys = shape[-2:]
        lists = item % self.counts.shape[0], head % self.counts.shape[1]
        counts, indices = self.counts[lists].tolist(), self.indices[lists]
        for block, count in enumerate(counts):
            rows = (block * self.rows, min((block + 1) * self.rows, queries))
            for first, last in _runs(sorted(indices[block, :count].tolist())):
                columns = (first * self.columns, min(last * self.columns, keys))
                if rows[0] < rows[1] and columns[0] < columns[1]:
                    yield (item, item + 1), (head, head + 1), rows, columns


@dataclass(frozen=True, slots=True, eq=False)
class FlexAttention:
    """One call of FlexAttention, whose pairs are not yet counted.

    Attributes:
        module_path: of the module that calls it.
        query: shape of the queries, `(batch, heads, queries, head_dim)`.
        key: shape of the keys, `(batch, kv_heads, keys, head_dim)`.
        value_dim: elements of a value.
        macs: of the operator.
        masked: weights where the mask function decides.
        unmasked: weights where it does not.
        partial: blocks where it decides.
        full: blocks where it does not.
    """

    module_path: str
    query: tuple[int, ...]
    key: tuple[int, ...]
    value_dim: int
    macs: int
    masked: Expression
    unmasked: Expression
    partial: ListedBlocks
    full: ListedBlocks | None


class Following(TorchDispatchMode):
    """Follows the operators that run inside."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        return self._run(func, args, kwargs, lambda: func(*args, **kwargs))


def flex_attention_call(
    tensors: TrackedTensors, run: Run, args: tuple[Any, ...], module_path: str, macs: int
) -> FlexAttention:
    """What a call of the operator computes.

    Args:
        tensors: the expressions of tensors.
        run: follows the operators of its mask function and its score function.
        args: of the operator: query, key, value, score function, block mask, and others.
        module_path: of the module that calls it.
        macs: of the operator.
    """
    query, key, value, score_function, block_mask, *_ = args
    _, _, counts, indices, full_counts, full_indices, *rest = block_mask
    *_, rows, columns, mask_function = rest
    build = tensors.build
    partial = _listed(counts, indices, rows, columns)
    full = None if full_counts is None else _listed(full_counts, full_indices, rows, columns)
    if partial is None or (full_counts is not None and full is None):
        raise ValueError("the blocks of a block mask are known once its MACs are")
    scores = _scores(tensors, run, query, key, score_function)
    sizes = (*partial.counts.shape[:2], *scores.shape[-2:])
    mask = tensors.expression(_over_pairs(run, sizes, query.device, mask_function))
    masked = build.masked_where(build.expand(mask, sizes), scores, -torch.inf)
    return FlexAttention(
        module_path,
        tuple(query.shape),
        tuple(key.shape),
        value.shape[-1],
        macs,
        build.softmax(masked),
        build.softmax(scores),
        partial,
        full,
    )


def _listed(counts: Tensor, indices: Tensor, rows: int, columns: int) -> ListedBlocks | None:
    known_counts, known_indices = constant_value(counts), constant_value(indices)
    if known_counts is None or known_indices is None:
        return None
    return ListedBlocks(known_counts, known_indices, rows, columns)


def _scores(
    tensors: TrackedTensors, run: Run, query: Tensor, key: Tensor, function: Any
) -> Expression:
    """The scores as the score function changes them."""
    shape = (*query.shape[:-1], key.shape[-2])
    scores = query.new_empty(shape)
    tensors.add(scores, tensors.build.scores(shape, scores.dtype), Origin())
    changed = _over_pairs(run, shape, query.device, function, scores)
    return tensors.build.expand(tensors.expression(changed), shape)


def _over_pairs(
    run: Run, shape: tuple[int, ...], device: torch.device, function: Any, *scores: Tensor
) -> Tensor:
    """A function of score, batch, head, query and key, for all of them."""
    from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex

    with Following(run), TransformGetItemToIndex(), torch.no_grad():
        indices = [torch.arange(size, device=device) for size in shape]
        for_all = flex_attention._vmap_for_bhqkv(function, prefix=(0,) * len(scores))
        return for_all(*scores, *indices)


def call_of_flex(flex: FlexAttention, count: CountInBlocks) -> AttentionCall:
    """What a call of FlexAttention needs and executes; `count` counts pairs in blocks."""
    batch, heads, queries, head_dim = flex.query

    def attended() -> int:
        pairs = count(flex.masked, flex.partial)
        return pairs if flex.full is None else pairs + count(flex.unmasked, flex.full)

    pairs, unknown = counted_or_reason(attended)
    return AttentionCall(
        module_path=flex.module_path,
        implementation="flex_attention",
        batch=batch,
        heads=heads,
        kv_heads=flex.key[1],
        queries=queries,
        keys=flex.key[-2],
        head_dim=head_dim,
        value_dim=flex.value_dim,
        executed_pairs=flex.macs // (head_dim + flex.value_dim),
        attended_pairs=pairs,
        executed_macs=flex.macs,
        unknown=unknown,
    )


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Runs of consecutive ascending numbers: the first and the last, excluded."""
    first = last = None
    for number in numbers:
        if number != last:
            if first is not None and last is not None:
                yield first, last
            first = number
        last = number + 1
    if first is not None and last is not None:
        yield first, last
