"""Longformer's attention as a function: a dilated window, global tokens, padding and dropout.

Source of the pattern: Longformer, arXiv 2004.05150, section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from attnprof.core.errors import UsageError
from attnprof.core.pattern import AttentionPattern
from attnprof.core.units import counted, format_tokens
from attnprof.nn.banded.autograd import banded_attention
from attnprof.nn.banded.band import Band

Positions = Sequence[int] | Sequence[Sequence[int]] | Tensor
"""Positions for all sequences, or one list for each; or a bool tensor that is true at them."""


def sliding_window_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    window: int,
    dilation: int | Sequence[int] = 1,
    global_positions: Positions = (),
    global_query: Tensor | None = None,
    global_key: Tensor | None = None,
    global_value: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """Exact softmax attention to a sliding window and to global tokens, in linear time and memory.

    The query at position i attends to the keys at i + dilation * k for |k| <= window / 2, and to
    all global tokens, to each key once. A global token attends to all keys. No query attends to
    padded keys; the output of a query without any key is 0. Time and memory of forward and backward
    grow as seq_len * (window + number of global tokens). Runs on CPU and CUDA, and inside
    `torch.compile`; first derivatives only.

    Source of the pattern: Longformer, arXiv 2004.05150, section 3.1.

    Args:
        query: floating point `(batch, heads, seq_len, head_dim)`; any strides, any length.
        key: shaped as the query, of its dtype and device.
        value: shaped as the query, of its dtype and device.
        window: keys on both sides of a query together, an even number, 2 or more; it may exceed
            the length of the sequence.
        dilation: stride in tokens between neighbouring keys of a query, 1 or more; one value, or
            one per head.
        global_positions: positions of the global tokens, counted from 0: a sequence of ints for
            all sequences of the batch; or one such sequence for each; or a bool tensor
            `(seq_len,)` or `(batch, seq_len)`, true at global tokens. Values of a tensor are read
            on the CPU, which is not possible inside `torch.compile` or with fake tensors.
        global_query: queries of the global tokens: shaped as the query, of which only their rows
            are used; or only these rows, `(batch, heads, globals, head_dim)`, by ascending
            position, where globals is the largest number of a sequence, less than seq_len.
            `query` if None. Ignored without global tokens, as are `global_key` and `global_value`.
        global_key: keys that global tokens attend to, shaped as the key; `key` if None.
        global_value: values that global tokens attend to, shaped as the value; `value` if None.
        key_padding_mask: bool `(batch, seq_len)`, true for padded keys, as in
            `torch.nn.MultiheadAttention`; None if there are none.
        dropout_p: probability with which an attention weight is dropped, 0 to 1; drawn from
            torch's random state.
        scale: factor of the scores; `head_dim ** -0.5` if None.

    Returns:
        `(batch, heads, seq_len, head_dim)`, stored in memory as `(batch, seq_len, heads,
        head_dim)`, so that `.transpose(1, 2).flatten(2)` does not copy.

    Raises:
        ValueError: if a shape, dtype or value is not what its description says; the message names
            the argument.
        RuntimeError: if a gradient is differentiated again.
    """
    _check_tensors(query, key, value, key_padding_mask)
    if not 0.0 <= dropout_p <= 1.0:
        raise UsageError("dropout_p", dropout_p, "must be a probability from 0 to 1")
    factor: float = query.shape[3] ** -0.5 if scale is None else scale
    batch, heads, seq_len, _ = query.shape
    band = checked_band(batch, heads, seq_len, window, dilation, global_positions)
    rows = None
    if any(band.global_positions):
        rows = _global_rows(
            _checked_or_default("global_query", global_query, query, band),
            _checked_or_default("global_key", global_key, key),
            _checked_or_default("global_value", global_value, value),
            key_padding_mask,
            band,
            dropout_p,
            factor,
        )
    return banded_attention(
        query, key, value, rows, key_padding_mask, band, scale=factor, dropout_p=dropout_p
    )


def global_index(band: Band, device: torch.device) -> Tensor:
    """Positions of global tokens, `(batch, globals)`, padded with 0.

    `globals` is the largest number of global tokens of a sequence.
    """
    count = max(map(len, band.global_positions))
    rows = [positions + (0,) * (count - len(positions)) for positions in band.global_positions]
    return torch.tensor(rows, dtype=torch.int64, device=device)


def checked_band(
    batch: int,
    heads: int,
    seq_len: int,
    window: int,
    dilation: int | Sequence[int],
    global_positions: Positions,
) -> Band:
    """A band whose values have been checked by `AttentionPattern.sliding`.

    Args:
        batch: sequences in the batch.
        heads: heads of the layer.
        seq_len: tokens.
        window: as in `sliding_window_attention`.
        dilation: as in `sliding_window_attention`.
        global_positions: as in `sliding_window_attention`.

    Raises:
        UsageError: (a `ValueError`) if a value is not as described there, or a position is outside
            the sequence.
    """
    per_item = _per_item(global_positions, batch, seq_len)
    patterns = {
        positions: AttentionPattern.sliding(window, dilation, positions, num_heads=heads)
        for positions in set(per_item) | {()}
    }
    for pattern in patterns.values():
        if pattern.last_position >= seq_len:
            raise UsageError(
                "global_positions",
                pattern.last_position,
                f"is outside a sequence of {format_tokens(seq_len)}",
            )
    return Band(
        window=window,
        dilation=patterns[()].dilation,
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


def _global_rows(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None,
    band: Band,
    dropout_p: float,
    scale: float,
) -> Tensor:
    """Dense attention of global tokens, `(batch, heads, globals, head_dim)`.

    `query` is `(batch, heads, seq_len or globals, head_dim)`.
    """
    index = global_index(band, query.device)
    if query.shape[2] == key.shape[2]:
        sequence = torch.arange(len(index), device=index.device).unsqueeze(1)
        query = query[sequence, :, index].transpose(1, 2)
    bias = None
    if key_padding_mask is not None:
        bias = query.new_zeros(key_padding_mask.shape).masked_fill(key_padding_mask, -torch.inf)
        bias = bias[:, None, None]
    return scaled_dot_product_attention(
        query, key, value, attn_mask=bias, dropout_p=dropout_p, scale=scale
    )


def _check_tensors(
    query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None
) -> None:
    if query.dim() != 4 or not query.is_floating_point():
        raise UsageError(
            "query",
            _described(query),
            "must be floating point, (batch, heads, seq_len, head_dim)",
        )
    for name, tensor in (("key", key), ("value", value)):
        _check_like(name, tensor, query)
    expected = (query.shape[0], query.shape[2])
    mask = key_padding_mask
    if mask is not None and (mask.dtype != torch.bool or tuple(mask.shape) != expected):
        raise UsageError(
            "key_padding_mask",
            _described(mask),
            f"must be bool, (batch, seq_len) = {expected}, true for padded keys",
        )


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
    rows_only = (*like.shape[:2], count, like.shape[3])
    _check_like(name, tensor, like, rows_only if tuple(tensor.shape) == rows_only else None)
    return tensor


def _check_like(
    name: str, tensor: Tensor, query: Tensor, shape: tuple[int, ...] | None = None
) -> None:
    expected = tuple(query.shape) if shape is None else shape
    wrong = tensor.dtype != query.dtype or tensor.device != query.device
    if wrong or tuple(tensor.shape) != expected:
        raise UsageError(name, _described(tensor), f"must match the query: {_described(query)}")


def _described(tensor: Tensor) -> str:
    """A tensor in messages: `float32 (1, 12, 512, 64) on cpu`."""
    name = str(tensor.dtype).removeprefix("torch.")
    return f"{name} {tuple(tensor.shape)} on {tensor.device}"
