"""Which kernel torch runs for fused attention on a GPU, and the memory that it allocates.

The GPU is one of compute capability 8 with the multiprocessors of an A100, so that the same call
costs the same on every machine. On capability 9.0 and 10.0 torch prefers cuDNN's kernel to
FlashAttention's and to the memory-efficient one where it is new enough: it multiplies the same
pairs and saves as much; the workspace inside it is cuDNN's secret.

Sources, in PyTorch's aten/src/ATen/native/transformers: cuda/sdp_utils.cpp (which kernel),
attention.cpp (padding), cuda/flash_attn/flash_api.cpp, cuda/attention_backward.cu and
cuda/mem_eff_attention (buffers).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from attnprof.core.workload import DTYPE_BYTES, DType

CudaKernel = Literal["flash", "efficient", "math"]

MASK_ALIGNMENT = 8
"""Elements to a multiple of which the memory-efficient kernel needs rows of a mask padded."""

HEAD_ALIGNMENT = 8
"""Features to a multiple of which FlashAttention's kernel has heads padded."""

_MULTIPROCESSORS = 108
_WIDEST_FLASH_HEAD = 256
_WIDEST_IN_REGISTERS = 128
_FLOAT = 4
_LOG_SUM_EXP_ALIGNMENT = 32
_QUERY_ALIGNMENT = 128
_MOST_SPLITS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaAttention:
    """One call of `scaled_dot_product_attention` on tensors with four dimensions.

    Attributes:
        batch: sequences.
        heads: heads of queries.
        kv_heads: heads of keys and values; fewer than `heads` if they are grouped.
        queries: queries of each sequence.
        keys: keys of each sequence.
        head_dim: width of queries and keys.
        value_dim: width of values.
        dtype: of all of them.
        is_causal: whether the operator itself is told to be causal.
        has_mask: whether there is a mask.
    """

    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    head_dim: int
    value_dim: int
    dtype: DType
    is_causal: bool = False
    has_mask: bool = False

    @property
    def kernel(self) -> CudaKernel:
        """The kernel that torch chooses if none is disabled."""
        if self.can_be_flash:
            return "flash"
        return "efficient" if self.can_be_efficient else "math"

    @property
    def can_be_flash(self) -> bool:
        """Whether FlashAttention's kernel can run it."""
        return (
            self._is_half
            and not self.has_mask
            and self.head_dim == self.value_dim <= _WIDEST_FLASH_HEAD
            and not (self.is_causal and self.queries != self.keys)
        )

    @property
    def can_be_efficient(self) -> bool:
        """Whether the memory-efficient kernel can run it."""
        aligned = 8 if self._is_half else 4
        return (
            (self._is_half or self.dtype == "float32")
            and self.kv_heads == self.heads
            and self.head_dim % aligned == self.value_dim % aligned == 0
        )

    @property
    def _is_half(self) -> bool:
        return DTYPE_BYTES[self.dtype] == 2

    def log_sum_exp_bytes(self, kernel: CudaKernel, *, requires_grad: bool) -> int:
        """Bytes of the log-sum-exp beside the output; kept for the backward pass if there is one.

        The memory-efficient kernel returns one only if it is needed, in multiples of 32 queries.
        """
        if kernel == "flash":
            return _FLOAT * self.batch * self.heads * self.queries
        if kernel == "math" or not requires_grad:
            return 0
        rows = _round_up(self.queries, _LOG_SUM_EXP_ALIGNMENT)
        return _FLOAT * self.batch * self.heads * rows

    def forward_buffer_bytes(self, kernel: CudaKernel) -> int:
        """Bytes inside the forward kernel: sums in float32 of keys that are split or too wide."""
        if kernel == "flash":
            splits, rows = self._key_splits()
            width = _round_head(self.head_dim) + 1
            return _FLOAT * splits * self.batch * rows * width if splits > 1 else 0
        widest = max(self.head_dim, self.value_dim)
        if kernel == "efficient" and self._is_half and widest > _WIDEST_IN_REGISTERS:
            return _FLOAT * self.batch * self.heads * self.queries * self.value_dim
        return 0

    def _key_splits(self) -> tuple[int, int]:
        """How many parts FlashAttention splits keys into to fill a GPU, and the rows of each.

        A single query of grouped heads is as many queries of a head of keys.
        """
        heads, queries = self.heads, self.queries
        if queries == 1 and heads > self.kv_heads:
            heads, queries = self.kv_heads, heads // self.kv_heads
        block = 256 if self.head_dim <= 64 else 128 if self.head_dim <= 128 else 64
        blocks = self.batch * heads * -(-queries // 64)
        return _key_splits(blocks, -(-self.keys // block)), heads * queries

    def backward_buffer_bytes(self, kernel: CudaKernel) -> int:
        """Bytes inside the backward kernel, beside the three gradients."""
        if kernel == "flash":
            return self._flash_backward_bytes()
        return self._efficient_backward_bytes() if kernel == "efficient" else 0

    def _flash_backward_bytes(self) -> int:
        """Gradients of queries and their sums in float32, those of keys for each query head."""
        rows = self.batch * self.heads * _round_up(self.queries, _QUERY_ALIGNMENT)
        accumulated = _FLOAT * rows * (_round_head(self.head_dim) + 1)
        if self.kv_heads == self.heads:
            return accumulated
        width = _round_up(self.head_dim, HEAD_ALIGNMENT)
        of_keys = self.batch * self.keys * self.heads * width * DTYPE_BYTES[self.dtype]
        return accumulated + 2 * of_keys

    def _efficient_backward_bytes(self) -> int:
        """Tiles of queries' gradients in float32, and the sum of each row of output by gradient."""
        rows = self.batch * self.heads * self.queries
        workspace = self._workspace_bytes()
        if self._is_half:
            return _FLOAT * rows + workspace
        # In float32 the sums are an operator's: products, sums and those in another order.
        copies = 2 if self.heads > 1 and self.queries > 1 else 1
        return max(_FLOAT * rows * (self.value_dim + copies), _FLOAT * rows + workspace)

    def _workspace_bytes(self) -> int:
        widest = max(self.head_dim, self.value_dim)
        rows, columns = (64, 64) if widest <= 64 else (128, 64)
        if self._is_half and 64 < widest <= _WIDEST_IN_REGISTERS:
            columns = 128
        tiles = -(-self.queries // rows) * -(-self.head_dim // columns)
        elements = tiles * (4 + rows * columns)
        if self._is_half and widest > _WIDEST_IN_REGISTERS:
            splits = max(1, min(-(-self.keys // columns), 200 // (self.batch * self.heads)))
            widths = _round_up(self.head_dim, rows) + _round_up(self.value_dim, rows)
            elements += splits * columns * widths
        return _FLOAT * self.batch * self.heads * _round_up(elements, 4)


def padded_mask_bytes(masks: int, queries: int, keys: int, dtype: DType) -> int:
    """Bytes of a copy of numeric masks with padded rows; 0 if they need no padding."""
    if keys % MASK_ALIGNMENT == 0:
        return 0
    return masks * queries * _round_up(keys, MASK_ALIGNMENT) * DTYPE_BYTES[dtype]


def _key_splits(blocks: int, key_blocks: int) -> int:
    """The fewest parts of the keys with 85 % of the best occupancy (`num_splits_heuristic`)."""
    places = 2 * _MULTIPROCESSORS
    if blocks >= 0.8 * places:
        return 1

    def occupancy(splits: int) -> float:
        waves = blocks * splits / places
        return waves / math.ceil(waves)

    candidates = [
        splits
        for splits in range(1, min(_MOST_SPLITS, places, key_blocks) + 1)
        if splits == 1 or -(-key_blocks // splits) != -(-key_blocks // (splits - 1))
    ]
    best = max(map(occupancy, candidates))
    return next(splits for splits in candidates if occupancy(splits) >= 0.85 * best)


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _round_head(head_dim: int) -> int:
    """The width of a head in FlashAttention's buffers."""
    rounded = _round_up(head_dim, 32)
    return rounded if rounded < 224 else _WIDEST_FLASH_HEAD
