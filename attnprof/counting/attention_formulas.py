"""MACs of torch's attention operators: fused attention, packed sequences and FlexAttention.

Shapes are `(batch, heads, seq_len, head_dim)` unless a function says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch

from attnprof.core.causal_blocks import fused_causal_pairs
from attnprof.core.workload import Device
from attnprof.counting.aten_operators import aten_operators
from attnprof.counting.constant_propagation import ValuesNeededError, constant_value

# --- MACs and pairs of one call -------------------------------------------------------------------


def attention_macs(query: Sequence[int], key: Sequence[int], value: Sequence[int]) -> int:
    """MACs of scores and context over all pairs, from the three shapes.

    With grouped queries, each query head has scores of its own.
    """
    return sum(_scores_and_context_macs(query, key, value))


def attention_backward_macs(query: Sequence[int], key: Sequence[int], value: Sequence[int]) -> int:
    """MACs of the five backward products over all pairs, from the three shapes.

    The scores are computed again; then come the gradients of query and key, which cost as much as
    the scores, and those of weights and value, which cost as much as the context.
    """
    scores, context = _scores_and_context_macs(query, key, value)
    return 3 * scores + 2 * context


def _scores_and_context_macs(
    query: Sequence[int], key: Sequence[int], value: Sequence[int]
) -> tuple[int, int]:
    scores = math.prod(query) * key[-2]
    return scores, scores // query[-1] * value[-1]


def _share_of_pairs(macs: int, pairs: int, queries: int, keys: int) -> int:
    """The share of `macs`, those of all pairs, that is due to `pairs` of them."""
    return macs * pairs // (queries * keys) if queries * keys else 0


# --- fused attention ------------------------------------------------------------------------------


def _causal_share(
    macs: int, query: Tensor, key: Tensor, is_causal: bool, device: Device = "cuda"
) -> int:
    """The MACs of all pairs, less those of the pairs that a causal kernel skips."""
    if not is_causal:
        return macs
    queries, keys = query.shape[-2], key.shape[-2]
    return _share_of_pairs(macs, fused_causal_pairs(queries, keys, device), queries, keys)


def _fused(query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, **_: Any) -> int:
    """Causal kernels skip the pairs above the diagonal, tile by tile; all others are counted."""
    return _causal_share(attention_macs(query.shape, key.shape, value.shape), query, key, is_causal)


def _fused_backward(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, **_: Any
) -> int:
    macs = attention_backward_macs(query.shape, key.shape, value.shape)
    return _causal_share(macs, query, key, is_causal)


def _fused_for_cpu(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, **_: Any
) -> int:
    macs = attention_macs(query.shape, key.shape, value.shape)
    return _causal_share(macs, query, key, is_causal, "cpu")


def _fused_for_cpu_backward(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, **_: Any
) -> int:
    macs = attention_backward_macs(query.shape, key.shape, value.shape)
    return _causal_share(macs, query, key, is_causal, "cpu")


# --- packed sequences -----------------------------------------------------------------------------

_MacsOfShapes = Callable[[Sequence[int], Sequence[int], Sequence[int]], int]


def _packed_macs(
    macs_of_shapes: _MacsOfShapes,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_ends: Tensor | None,
    key_ends: Tensor | None,
    is_causal: bool,
) -> int:
    """MACs of attention over packed sequences, or over a batch of equally long ones.

    Args:
        macs_of_shapes: `attention_macs` or `attention_backward_macs`.
        query: `(batch, seq_len, heads, head_dim)`.
        key: as `query`.
        value: as `query`.
        query_ends: where sequences end in the packed queries, from 0 on; None if nothing is packed.
        key_ends: the same of the keys; None if it is the same as of the queries.
        is_causal: whether pairs above the diagonal are skipped.

    Raises:
        ValuesNeededError: if the ends are not known.
    """

    def macs(queries: int, keys: int, batch: int) -> int:
        heads = query.shape[-2]
        all_pairs = macs_of_shapes(
            (batch, heads, queries, query.shape[-1]),
            (batch, heads, keys, 0),
            (batch, heads, keys, value.shape[-1]),
        )
        if not is_causal:
            return all_pairs
        pairs = fused_causal_pairs(queries, keys, "cuda")
        return _share_of_pairs(all_pairs, pairs, queries, keys)

    if query_ends is None or query_ends.numel() == 0:
        return macs(query.shape[1], key.shape[1], query.shape[0])
    known_query_ends = constant_value(query_ends)
    known_key_ends = known_query_ends if key_ends is None else constant_value(key_ends)
    if known_query_ends is None or known_key_ends is None:
        raise ValuesNeededError("the lengths of packed sequences depend on data")
    with no_dispatch():
        lengths = [ends.diff().tolist() for ends in (known_query_ends, known_key_ends)]
    return sum(macs(queries, keys, 1) for queries, keys in zip(*lengths, strict=True))


def _flash_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cum_seq_q: Tensor | None = None,
    cum_seq_k: Tensor | None = None,
    is_causal: bool = False,
    **_: Any,
) -> int:
    return _packed_macs(attention_macs, query, key, value, cum_seq_q, cum_seq_k, is_causal)


def _flash_backward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cum_seq_q: Tensor | None = None,
    cum_seq_k: Tensor | None = None,
    is_causal: bool = False,
    **_: Any,
) -> int:
    return _packed_macs(attention_backward_macs, query, key, value, cum_seq_q, cum_seq_k, is_causal)


def _efficient_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    custom_mask_type: int = 0,
    **_: Any,
) -> int:
    is_causal = bool(custom_mask_type)
    return _packed_macs(attention_macs, query, key, value, cu_seqlens_q, cu_seqlens_k, is_causal)


def _efficient_backward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    custom_mask_type: int = 0,
    **_: Any,
) -> int:
    is_causal = bool(custom_mask_type)
    return _packed_macs(
        attention_backward_macs, query, key, value, cu_seqlens_q, cu_seqlens_k, is_causal
    )


# --- FlexAttention --------------------------------------------------------------------------------


def _block_mask_pairs(block_mask: tuple[Any, ...], query: Tensor, key: Tensor) -> int:
    """Pairs in the blocks that a block mask lists, summed over batch and heads.

    The last block of a sequence may be shorter than the others. A block mask of batch or head size
    1 applies to all of them.

    Args:
        block_mask: as the operator gets it, the order of `BlockMask.as_tuple`.
        query: `(batch, heads, queries, head_dim)`.
        key: `(batch, key heads, keys, head_dim)`.

    Raises:
        ValuesNeededError: if the values of the block mask are not known.
    """
    _, _, partial, partial_indices, full, full_indices, *rest = block_mask
    *_, rows, columns, _ = rest
    pairs = 0
    for counts, indices in ((partial, partial_indices), (full, full_indices)):
        if counts is None:
            continue
        counts, indices = constant_value(counts), constant_value(indices)
        if counts is None or indices is None:
            raise ValuesNeededError("the blocks of a block mask depend on data")
        listed = _listed_pairs(counts, indices, query.shape[-2], key.shape[-2], rows, columns)
        batch, heads = indices.shape[:2]
        pairs += listed * (query.shape[0] // batch) * (query.shape[1] // heads)
    return pairs


def _listed_pairs(
    counts: Tensor, indices: Tensor, queries: int, keys: int, rows: int, columns: int
) -> int:
    """Pairs in listed blocks of `rows` x `columns`.

    Args:
        counts: how many blocks of keys each block of queries lists, `(batch, heads, blocks)`.
        indices: which ones, of which the first `counts` are valid, `(…, blocks, key blocks)`.
        queries: length of the queries.
        keys: length of the keys.
        rows: queries of a block.
        columns: keys of a block.
    """
    with no_dispatch():
        is_listed = torch.arange(indices.shape[-1], device=indices.device) < counts[..., None]
        widths = (keys - indices.long() * columns).clamp(0, columns) * is_listed
        first_queries = torch.arange(indices.shape[-2], device=indices.device) * rows
        heights = (queries - first_queries).clamp(0, rows)
        return int((widths.sum(-1) * heights).sum())


def _flex(query: Tensor, key: Tensor, value: Tensor, *args: Any, **_: Any) -> int:
    pairs = _block_mask_pairs(args[1], query, key)
    return pairs * (query.shape[-1] + value.shape[-1])


def _flex_backward(query: Tensor, key: Tensor, value: Tensor, *args: Any, **_: Any) -> int:
    # args: out, logsumexp, grad_out, grad_logsumexp, fw_graph, joint_graph, block_mask, …
    pairs = _block_mask_pairs(args[6], query, key)
    return pairs * (3 * query.shape[-1] + 2 * value.shape[-1])


FORMULAS: dict[Any, Callable[..., int]] = {
    **dict.fromkeys(
        aten_operators(
            "_scaled_dot_product_efficient_attention "
            "_scaled_dot_product_flash_attention "
            "_scaled_dot_product_cudnn_attention "
            "_scaled_dot_product_fused_attention_overrideable "
            "_scaled_dot_product_attention_math_for_mps"
        ),
        _fused,
    ),
    **dict.fromkeys(
        aten_operators(
            "_scaled_dot_product_efficient_attention_backward "
            "_scaled_dot_product_flash_attention_backward "
            "_scaled_dot_product_cudnn_attention_backward "
            "_scaled_dot_product_fused_attention_overrideable_backward"
        ),
        _fused_backward,
    ),
    **dict.fromkeys(aten_operators("_scaled_dot_product_flash_attention_for_cpu"), _fused_for_cpu),
    **dict.fromkeys(
        aten_operators("_scaled_dot_product_flash_attention_for_cpu_backward"),
        _fused_for_cpu_backward,
    ),
    **dict.fromkeys(
        aten_operators("_flash_attention_forward _cudnn_attention_forward"), _flash_forward
    ),
    **dict.fromkeys(
        aten_operators("_flash_attention_backward _cudnn_attention_backward"), _flash_backward
    ),
    **dict.fromkeys(aten_operators("_efficient_attention_forward"), _efficient_forward),
    **dict.fromkeys(aten_operators("_efficient_attention_backward"), _efficient_backward),
    torch.ops.higher_order.flex_attention: _flex,
    torch.ops.higher_order.flex_attention_backward: _flex_backward,
}
