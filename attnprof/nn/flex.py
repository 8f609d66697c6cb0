"""Any pattern with PyTorch's FlexAttention, compiled, and the pattern's block mask."""

from __future__ import annotations

import warnings
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from attnprof.core.mask_pattern import MaskPattern
from attnprof.core.masks import MaskMod
from attnprof.core.pattern import AttentionPattern
from attnprof.nn.block_mask import BLOCK, block_rows
from attnprof.nn.projected_attention import HeadShape, ProjectedSelfAttention


class FlexSelfAttention(ProjectedSelfAttention):
    """Self-attention of one pattern at one length; compiled at the first call.

    Args:
        shape: sizes of the attention.
        pattern: which keys a query attends to; it has as many heads.
        seq_len: tokens of each sequence.
    """

    def __init__(self, shape: HeadShape, pattern: AttentionPattern, seq_len: int) -> None:
        super().__init__(shape, pattern.symmetric_globals)
        self._block_mask = block_mask(pattern, seq_len, self.global_positions.device)
        # torch caches compiled code, and compilations it gave up, by code object: each module has
        # its own copy.
        function = FunctionType(_only_compiled.__code__.replace(), _only_compiled.__globals__)
        self._compiled: Any = torch.compile(function, dynamic=False, fullgraph=True)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """FlexAttention.

        Raises:
            RuntimeError: if torch would run it uncompiled.
        """
        attend: Any = _as_operator if isinstance(query, FakeTensor) else self._compiled
        output: Tensor = attend(query, key, value, self._block_mask, self.is_grouped)
        return output


def _only_compiled(
    query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, is_grouped: bool
) -> Any:
    """FlexAttention; an error if torch runs it uncompiled, which would be dense attention."""
    if not torch.compiler.is_compiling():
        raise RuntimeError(
            "FlexAttention is not compiled here: torch does not compile under another dispatch "
            "mode, such as a counter's, or when TORCHDYNAMO_DISABLE is set"
        )
    return flex_attention(query, key, value, block_mask=mask, enable_gqa=is_grouped)


def _as_operator(
    query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, is_grouped: bool
) -> Any:
    """FlexAttention of fake tensors: one operator, which computes nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warning that it is dense without a compiler
        return flex_attention(query, key, value, block_mask=mask, enable_gqa=is_grouped)


AS_COMPILED = _as_operator.__code__
"""The code that represents the compiled kernel on fake tensors: it allocates no scores."""


def block_mask(pattern: AttentionPattern, seq_len: int, device: torch.device) -> BlockMask:
    """The pattern's block mask, as `create_block_mask` would compute it from all pairs.

    If all heads are alike, they share one mask. Queries of symmetric global tokens are treated like
    others: see `block_rows`.

    Args:
        pattern: which keys a query attends to.
        seq_len: tokens.
        device: of the mask's tensors.
    """
    rows = [list(block_rows(pattern, head, seq_len)) for head in _distinct_heads(pattern)]
    partial = _numbers_and_indices([[row.partial for row in of_head] for of_head in rows], device)
    full = _numbers_and_indices([[row.full for row in of_head] for of_head in rows], device)
    return BlockMask.from_kv_blocks(
        *partial,
        *full,
        BLOCK_SIZE=BLOCK,
        mask_mod=_mask_mod(pattern, seq_len, device),
        seq_lengths=(seq_len, seq_len),
    )


def _distinct_heads(pattern: AttentionPattern) -> range:
    """The heads that need a block mask: the first if all are alike."""
    if isinstance(pattern, MaskPattern):
        return range(pattern.num_heads if pattern.depends_on_head else 1)
    return range(pattern.num_heads if len(set(pattern.dilation)) > 1 else 1)


def _mask_mod(pattern: AttentionPattern, seq_len: int, device: torch.device) -> MaskMod:
    """The pattern's definition for torch tensors, in FlexAttention's signature."""
    if isinstance(pattern, MaskPattern):

        def as_table(values: Any) -> Tensor:
            return torch.tensor(values, device=device)

        return pattern.function.mask_mod(seq_len, pattern.num_heads, as_table)
    stride = torch.tensor(pattern.dilation, device=device)
    is_global = torch.zeros(seq_len, dtype=torch.bool, device=device)
    is_global[list(pattern.global_positions)] = True
    left, right = pattern.sides(seq_len)
    are_sinks = pattern.causal

    def attends_to(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        after, step = key - query, stride[head]
        in_band = (after >= -left * step) & (after <= right * step) & (after % step == 0)
        return in_band | (is_global[key] & (after <= 0) if are_sinks else is_global[key])

    return attends_to


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
