"""Longformer's attention as a function: a dilated window, global tokens, padding, dropout.

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
from attnprof.nn.banded.attention import Band
from attnprof.nn.banded.autograd import banded_attention

Positions = Sequence[int] | Sequence[Sequence[int]] | Tensor
"""Positions of all sequences, or of each; or a bool tensor, true at them."""


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
    """Exact softmax attention to a window of keys and to global tokens, linear in length.

    A query at position i reads the keys at i + dilation * k for |k| <= window / 2, and those of all
    global tokens; each key once. A global token reads all keys. Padded keys are read by nobody; a
    query that reads no key gives 0. Time and memory grow with seq_len * (window + globals),
    backward too.

    Args:
        query: `(batch, heads, seq_len, head_dim)`; any strides, any length.
        key: shaped as the query.
        value: shaped as the query.
        window: keys around a query, an even number, half of them on each side; it may be wider
            than the sequence.
        dilation: positions between neighbouring keys of a query; one value, or one per head.
        global_positions: of global tokens, the same in all sequences; or one such sequence for
            each in the batch; or a bool tensor `(seq_len,)` or `(batch, seq_len)`, true at global
            tokens (its values are read: not inside `torch.compile`, nor of fake tensors).
        global_query: what global tokens ask with, shaped as the query, of which their rows are
            read; or those rows alone, by ascending position, `(batch, heads, globals, head_dim)`
            with fewer globals than tokens. `query` if None. Without global tokens it is not read,
            nor are the next two.
        global_key: what global tokens read, shaped as the key; `key` if None.
        global_value: what global tokens read, shaped as the value; `value` if None.
        key_padding_mask: bool `(batch, seq_len)`, true for padded keys, as in
            `torch.nn.MultiheadAttention`.
        dropout_p: probability with which a weight is dropped, drawn from torch's random state.
        scale: factor of the scores, `head_dim ** -0.5` if None.

    Returns:
        `(batch, heads, seq_len, head_dim)`; in memory `(batch, seq_len, heads, head_dim)`, so that
        `.transpose(1, 2).flatten(2)` copies nothing.

    Raises:
        ValueError: a shape, type or value is not what its description says; the message names the
            argument.
    """
    _check_tensors(query, key, value, key_padding_mask)
    if not 0.0 <= dropout_p <= 1.0:
        raise UsageError("dropout_p", dropout_p, "a probability, 0 to 1")
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
    """Positions of global tokens, `(batch, globals)`: 0 beyond the last of a sequence."""
    most = max(map(len, band.global_positions))
    rows = [positions + (0,) * (most - len(positions)) for positions in band.global_positions]
    return torch.tensor(rows, dtype=torch.int64, device=device)


def checked_band(
    batch: int, heads: int, seq_len: int, window: int, dilation: int | Sequence[int], of: Positions
) -> Band:
    """The band, its values checked as those of `AttentionPattern.sliding`, which it is.

    Raises:
        UsageError: when one of them is not as described there, or a position lies outside.
    """
    per_item = _per_item(of, batch, seq_len)
    patterns = {
        positions: AttentionPattern.sliding(window, dilation, positions, num_heads=heads)
        for positions in set(per_item) | {()}
    }
    for pattern in patterns.values():
        if pattern.last_position >= seq_len:
            raise UsageError(
                "global_positions",
                pattern.last_position,
                f"outside a sequence of {seq_len:,} tokens",
            )
    return Band(
        window=window,
        dilation=patterns[()].dilation,
        global_positions=tuple(patterns[positions].global_positions for positions in per_item),
    )


def _per_item(positions: Positions, batch: int, seq_len: int) -> list[tuple[int, ...]]:
    """Positions of each sequence of the batch, in whichever way they are given."""
    if isinstance(positions, Tensor):
        shapes = ((seq_len,), (batch, seq_len))
        if positions.dtype != torch.bool or tuple(positions.shape) not in shapes:
            raise UsageError(
                "global_positions",
                _described(positions),
                f"a tensor is bool, of shape {shapes[0]} or {shapes[1]}",
            )
        marks = positions.expand(batch, seq_len)
        return [tuple(row.nonzero().flatten().tolist()) for row in marks.cpu()]
    if not any(isinstance(one, Sequence) for one in positions):
        return [tuple(cast("Sequence[int]", positions))] * batch
    if len(positions) != batch:
        raise UsageError(
            "global_positions", f"of {len(positions)} sequences", f"the batch has {batch}"
        )
    return [tuple(one) for one in cast("Sequence[Sequence[int]]", positions)]


def _global_rows(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None,
    band: Band,
    dropout_p: float,
    scale: float,
) -> Tensor:
    """Dense attention of global tokens, `(batch, heads, globals, head_dim)`."""
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
            "query", _described(query), "floating point, (batch, heads, seq_len, head_dim)"
        )
    for name, tensor in (("key", key), ("value", value)):
        _check_like(name, tensor, query)
    expected = (query.shape[0], query.shape[2])
    mask = key_padding_mask
    if mask is not None and (mask.dtype != torch.bool or tuple(mask.shape) != expected):
        raise UsageError(
            "key_padding_mask",
            _described(mask),
            f"bool, (batch, seq_len) = {expected}, true for padded keys",
        )


def _checked_or_default(
    name: str, tensor: Tensor | None, like: Tensor, band: Band | None = None
) -> Tensor:
    """The projection of global tokens, checked, or the ordinary one; `band` if rows will do."""
    if tensor is None:
        return like
    most = max(map(len, band.global_positions)) if band else -1
    rows_alone = (*like.shape[:2], most, like.shape[3])
    _check_like(name, tensor, like, rows_alone if tuple(tensor.shape) == rows_alone else None)
    return tensor


def _check_like(
    name: str, tensor: Tensor, query: Tensor, shape: tuple[int, ...] | None = None
) -> None:
    expected = tuple(query.shape) if shape is None else shape
    wrong = tensor.dtype != query.dtype or tensor.device != query.device
    if wrong or tuple(tensor.shape) != expected:
        raise UsageError(name, _described(tensor), f"as the query: {_described(query)}")


def _described(tensor: Tensor) -> str:
    """What a message says of a tensor: `float32 (1, 12, 512, 64) on cpu`."""
    name = str(tensor.dtype).removeprefix("torch.")
    return f"{name} {tuple(tensor.shape)} on {tensor.device}"
