"""Attention to a sliding window as a function: dilation, global tokens, causal, grouped heads.

Sources of the patterns: Longformer, arXiv 2004.05150, section 3.1; for causal windows,
transformers' `sliding_window`; for attention sinks, StreamingLLM, arXiv 2309.17453, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from attnprof.core.errors import UsageError
from attnprof.core.pattern import AttentionPattern
from attnprof.core.units import counted, format_tokens
from attnprof.nn.banded.autograd import banded_attention
from attnprof.nn.banded.band import Band
from attnprof.nn.banded.implementation import Implementation, check_triton, chosen
from attnprof.nn.global_rows import RowWeights, attend_projected, global_index

Positions = Sequence[int] | Sequence[Sequence[int]] | Tensor
"""Positions for all sequences, or one list for each; or a bool tensor that is true at them."""


def sliding_window_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    window: int | tuple[int, int],
    causal: bool = False,
    enable_gqa: bool = False,
    dilation: int | Sequence[int] = 1,
    global_positions: Positions = (),
    global_query: Tensor | None = None,
    global_key: Tensor | None = None,
    global_value: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    scale: float | None = None,
    implementation: Implementation = "auto",
) -> Tensor:
    """Exact softmax attention to a sliding window and to global tokens, in linear time and memory.

    The query at position i attends to the keys at i + dilation * k for |k| <= window / 2, and to
    all global tokens, to each key once. A global token attends to all keys. With `causal`, no query
    attends to a later key: it attends to those at i - dilation * k for 0 <= k < window, and to the
    global tokens before it, which are then attention sinks. No query attends to padded keys; the
    output of a query without any key is 0. Time and memory of forward and backward grow as
    seq_len * (window + number of global tokens). Runs on CPU and CUDA, and inside `torch.compile`;
    first derivatives only.

    Sources of the patterns: Longformer, arXiv 2004.05150, section 3.1; transformers'
    `sliding_window`; StreamingLLM, arXiv 2309.17453, section 3.2.

    Args:
        query: floating point `(batch, heads, seq_len, head_dim)`; any strides, any length.
        key: `(batch, heads, seq_len, head_dim)`, with `enable_gqa` `(batch, kv_heads, seq_len,
            head_dim)`; of the query's dtype and device.
        value: `(batch, heads or kv_heads, seq_len, value_dim)`, of the query's dtype and device. On
            CPU, it is fastest if value_dim is head_dim.
        window: keys on both sides of a query together, an even number, 2 or more. With `causal`,
            the query's own key and those before it, 1 or more. A pair is the keys before and after
            a query, without its own. It may exceed the length of the sequence.
        causal: whether no query attends to a later key.
        enable_gqa: whether each head of keys and values is shared by heads / kv_heads neighbouring
            query heads, as in `torch.nn.functional.scaled_dot_product_attention`. Keys and values
            are not repeated in memory.
        dilation: stride in tokens between neighbouring keys of a query, 1 or more; one value, or
            one per query head.
        global_positions: positions of the global tokens, counted from 0: a sequence of ints for
            all sequences of the batch; or one such sequence for each; or a bool tensor
            `(seq_len,)` or `(batch, seq_len)`, true at global tokens. Values of a tensor are read
            on the CPU, which is not possible inside `torch.compile` or with fake tensors.
        global_query: queries of the global tokens: shaped as the query, of which only their rows
            are used; or only these rows, `(batch, heads, globals, head_dim)`, by ascending
            position, where globals is the largest number of a sequence, less than seq_len.
            `query` if None. Ignored without global tokens, and must be None with `causal`, as
            `global_key` and `global_value`.
        global_key: keys that global tokens attend to, shaped as the key; `key` if None.
        global_value: values that global tokens attend to, shaped as the value; `value` if None.
        key_padding_mask: bool `(batch, seq_len)`, true for padded keys, as in
            `torch.nn.MultiheadAttention`; None if there are none.
        dropout_p: probability with which an attention weight is dropped, 0 to 1; drawn from
            torch's random state.
        scale: factor of the scores; `head_dim ** -0.5` if None.
        implementation: `tiles` computes products of torch and, on CPU, its fused attention;
            `triton` is a Triton kernel for CUDA, with the extra `attnprof[triton]`: no dropout, no
            float64, heads of at most 256, or 128 in float32. `auto` is `tiles`, as nobody has
            measured the kernel on a GPU yet; its outputs and gradients are tested in Triton's
            interpreter.

    Returns:
        `(batch, heads, seq_len, value_dim)`, stored in memory as `(batch, seq_len, heads,
        value_dim)`, so that `.transpose(1, 2).flatten(2)` does not copy.

    Raises:
        ValueError: if a shape, dtype or value is not what its description says; the message names
            the argument.
        RuntimeError: if a gradient is differentiated again.
    """
    _check_tensors(query, key, value, key_padding_mask, enable_gqa=enable_gqa)
    if not 0.0 <= dropout_p <= 1.0:
        raise UsageError("dropout_p", dropout_p, "must be a probability from 0 to 1")
    computed_by = chosen(implementation)
    if computed_by == "triton":
        check_triton(query, value, dropout_p)
    factor: float = query.shape[3] ** -0.5 if scale is None else scale
    batch, heads, seq_len, _ = query.shape
    pattern = AttentionPattern.sliding(window, dilation, num_heads=heads, causal=causal)
    band = checked_band(batch, seq_len, pattern, global_positions)
    rows = None
    if causal:
        _check_none(global_query=global_query, global_key=global_key, global_value=global_value)
    elif any(band.global_positions):
        of_globals = _checked_or_default("global_query", global_query, query, band)
        rows = attend_projected(
            _global_queries(of_globals, band, seq_len),
            _checked_or_default("global_key", global_key, key),
            _checked_or_default("global_value", global_value, value),
            RowWeights(padded=key_padding_mask, scale=factor, dropout_p=dropout_p),
        )
    return banded_attention(
        query,
        key,
        value,
        rows,
        key_padding_mask,
        band,
        scale=factor,
        dropout_p=dropout_p,
        implementation=computed_by,
    )


def checked_band(
    batch: int, seq_len: int, pattern: AttentionPattern, global_positions: Positions
) -> Band:
    """The band of a pattern, with checked global positions in place of the pattern's own.

    Args:
        batch: sequences in the batch.
        seq_len: tokens.
        pattern: of all sequences; a dense one is a band as wide as the sequence.
        global_positions: as in `sliding_window_attention`.

    Raises:
        UsageError: (a `ValueError`) if a position is not as described there, or is outside the
            sequence.
    """
    per_item = _per_item(global_positions, batch, seq_len)
    patterns = {
        positions: replace(pattern, global_positions=positions) for positions in set(per_item)
    }
    for of_item in patterns.values():
        if of_item.last_position >= seq_len:
            raise UsageError(
                "global_positions",
                of_item.last_position,
                f"is outside a sequence of {format_tokens(seq_len)}",
            )
    return Band(
        sides=pattern.sides(seq_len),
        dilation=pattern.dilation,
        causal=pattern.causal,
        global_positions=tuple(patterns[positions].global_positions for positions in per_item),
    )


def _per_item(positions: Positions, batch: int, seq_len: int) -> list[tuple[int, ...]]:
    """Positions of global tokens for each sequence of the batch."""
    if isinstance(positions, Tensor):
        shapes = ((seq_len,), (batch, seq_len))
        if positions.dtype != torch.bool or tuple(positions.shape) not in shapes:
            raise UsageError(
                "global_positions",
                _described(positions),
                f"must be bool, of shape {shapes[0]} or {shapes[1]}",
            )
        is_global = positions.expand(batch, seq_len)
        return [tuple(row.nonzero().flatten().tolist()) for row in is_global.cpu()]
    if not any(isinstance(position, Sequence) for position in positions):
        return [tuple(cast("Sequence[int]", positions))] * batch
    if len(positions) != batch:
        raise UsageError(
            "global_positions",
            f"of {counted(len(positions), 'sequence')}",
            f"must be of {counted(batch, 'sequence')}, as in the batch",
        )
    return [tuple(of_item) for of_item in cast("Sequence[Sequence[int]]", positions)]


def _global_queries(query: Tensor, band: Band, seq_len: int) -> Tensor:
    """The queries of global tokens `(batch, heads, globals, head_dim)`, of all queries or given."""
    if query.shape[2] < seq_len:
        return query
    index = global_index(band, query.device)
    sequence = torch.arange(len(index), device=index.device).unsqueeze(1)
    return query[sequence, :, index].transpose(1, 2)


def _check_tensors(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None,
    *,
    enable_gqa: bool,
) -> None:
    if query.dim() != 4 or not query.is_floating_point():
        raise UsageError(
            "query",
            _described(query),
            "must be floating point, (batch, heads, seq_len, head_dim)",
        )
    batch, heads, seq_len, head_dim = query.shape
    kv_heads, value_dim = heads, head_dim
    if key.dim() == value.dim() == 4:
        value_dim = value.shape[3]
        kv_heads = key.shape[1] if enable_gqa else heads
        if kv_heads < 1 or heads % kv_heads:
            raise UsageError("key", _described(key), f"must have a divisor of {heads} heads")
    _check_like("key", key, query, (batch, kv_heads, seq_len, head_dim))
    _check_like("value", value, query, (batch, kv_heads, seq_len, value_dim))
    expected = (batch, seq_len)
    mask = key_padding_mask
    if mask is not None and (mask.dtype != torch.bool or tuple(mask.shape) != expected):
        raise UsageError(
            "key_padding_mask",
            _described(mask),
            f"must be bool, (batch, seq_len) = {expected}, true for padded keys",
        )


def _check_none(**of_globals: Tensor | None) -> None:
    for name, tensor in of_globals.items():
        if tensor is not None:
            expected = "must be None in a causal call: its global tokens are attention sinks"
            raise UsageError(name, _described(tensor), expected)


def _checked_or_default(
    name: str, tensor: Tensor | None, like: Tensor, band: Band | None = None
) -> Tensor:
    """A tensor for global tokens after a check, or `like` if it is None.

    Args:
        name: the argument's name, for messages.
        tensor: the argument.
        like: the tensor whose shape, dtype and device it must have.
        band: if not None, the tensor may also have the rows of global tokens only.
    """
    if tensor is None:
        return like
    count = max(map(len, band.global_positions)) if band else -1
    shape = tuple(like.shape)
    rows_only = (*shape[:2], count, shape[3])
    _check_like(name, tensor, like, rows_only if tuple(tensor.shape) == rows_only else shape)
    return tensor


def _check_like(name: str, tensor: Tensor, like: Tensor, shape: tuple[int, ...]) -> None:
    """Check a tensor's shape, and that dtype and device are those of another one."""
    wrong = tensor.dtype != like.dtype or tensor.device != like.device
    if wrong or tuple(tensor.shape) != shape:
        expected = _described(like.new_empty(shape, device="meta"), like.device)
        raise UsageError(name, _described(tensor), f"must match the query: {expected}")


def _described(tensor: Tensor, device: torch.device | None = None) -> str:
    """A tensor in messages: `float32 (1, 12, 512, 64) on cpu`; on another device if given."""
    name = str(tensor.dtype).removeprefix("torch.")
    return f"{name} {tuple(tensor.shape)} on {device or tensor.device}"
