"""Longformer's attention with PyTorch's FlexAttention, compiled, and the pattern's block mask."""

from __future__ import annotations

import warnings
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

from attnprof.core.pattern import AttentionPattern
from attnprof.nn.block_mask import BLOCK, block_rows


class FlexSelfAttention(nn.Module):
    """Self-attention of one sparse pattern at one length; compiled at the first call.

    Parameters have the names of transformers' `LongformerSelfAttention`; the `_global` ones exist
    only if there are global positions.

    Args:
        hidden_size: width of the layer.
        pattern: a sliding window; its heads divide `hidden_size`.
        seq_len: tokens of each sequence.
    """

    def __init__(self, hidden_size: int, pattern: AttentionPattern, seq_len: int) -> None:
        super().__init__()
        self.num_heads = pattern.num_heads
        self.global_positions = list(pattern.global_positions)
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        if self.global_positions:
            self.query_global = nn.Linear(hidden_size, hidden_size)
            self.key_global = nn.Linear(hidden_size, hidden_size)
            self.value_global = nn.Linear(hidden_size, hidden_size)
        self._block_mask = block_mask(pattern, seq_len, self.query.weight.device)
        # torch caches compiled code, and compilations it gave up, by code object: each module has
        # its own copy.
        function = FunctionType(_only_compiled.__code__.replace(), _only_compiled.__globals__)
        self._compiled: Any = torch.compile(function, dynamic=False, fullgraph=True)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """`(batch, seq_len, hidden)` to the same shape.

        Raises:
            RuntimeError: if torch would run FlexAttention uncompiled.
        """
        heads = [
            self._heads(projection(hidden_states))
            for projection in (self.query, self.key, self.value)
        ]
        attend: Any = _as_operator if isinstance(hidden_states, FakeTensor) else self._compiled
        output: Tensor = attend(*heads, self._block_mask)
        output = output.transpose(1, 2).flatten(2)
        if not self.global_positions:
            return output
        rows = scaled_dot_product_attention(
            self._heads(self.query_global(hidden_states[:, self.global_positions])),
            self._heads(self.key_global(hidden_states)),
            self._heads(self.value_global(hidden_states)),
        )
        index = torch.tensor(self.global_positions, device=output.device)
        return output.index_copy(1, index, rows.transpose(1, 2).flatten(2))

    def _heads(self, projected: Tensor) -> Tensor:
        """`(batch, heads, tokens, head_dim)` from `(batch, tokens, hidden)`."""
        return projected.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def _only_compiled(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask) -> Any:
    """FlexAttention; an error if torch runs it uncompiled, which would be dense attention."""
    if not torch.compiler.is_compiling():
        raise RuntimeError(
            "FlexAttention is not compiled here: torch does not compile under another dispatch "
            "mode, such as a counter's, or when TORCHDYNAMO_DISABLE is set"
        )
    return flex_attention(query, key, value, block_mask=mask)


def _as_operator(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask) -> Any:
    """FlexAttention of fake tensors: one operator, which computes nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warning that it is dense without a compiler
        return flex_attention(query, key, value, block_mask=mask)


AS_COMPILED = _as_operator.__code__
"""The code that represents the compiled kernel on fake tensors: it allocates no scores."""


def block_mask(pattern: AttentionPattern, seq_len: int, device: torch.device) -> BlockMask:
    """The pattern's block mask, as `create_block_mask` would compute it from all pairs.

    If all heads have the same dilation, they share one mask. Queries of global tokens are treated
    like others: see `block_rows`.

    Args:
        pattern: a sliding window.
        seq_len: tokens.
        device: of the mask's tensors.
    """
    dilations = pattern.dilation if len(set(pattern.dilation)) > 1 else pattern.dilation[:1]
    rows_of = {d: list(block_rows(pattern, d, seq_len)) for d in set(dilations)}
    rows = [rows_of[dilation] for dilation in dilations]
    partial = _numbers_and_indices([[row.partial for row in of_head] for of_head in rows], device)
    full = _numbers_and_indices([[row.full for row in of_head] for of_head in rows], device)
    stride = torch.tensor(pattern.dilation, device=device)
    is_global = torch.zeros(seq_len, dtype=torch.bool, device=device)
    is_global[list(pattern.global_positions)] = True
    half_window = (pattern.window or 0) // 2

    def attends_to(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        distance = (query - key).abs()
        step = stride[head]
        in_band = (distance <= half_window * step) & (distance % step == 0)
        return in_band | is_global[key]

    return BlockMask.from_kv_blocks(
        *partial, *full, BLOCK_SIZE=BLOCK, mask_mod=attends_to, seq_lengths=(seq_len, seq_len)
    )


def _numbers_and_indices(
    rows: list[list[tuple[int, ...]]], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Blocks per row, `(1, heads, rows)`, and their indices, `(1, heads, rows, columns)`."""
    numbers = torch.tensor([[len(row) for row in of_head] for of_head in rows], dtype=torch.int32)
    columns = len(rows[0])
    indices = torch.zeros(len(rows), len(rows[0]), columns, dtype=torch.int32)
    for head, of_head in enumerate(rows):
        for number, row in enumerate(of_head):
            indices[head, number, : len(row)] = torch.tensor(row, dtype=torch.int32)
    return numbers.unsqueeze(0).to(device), indices.unsqueeze(0).to(device)
