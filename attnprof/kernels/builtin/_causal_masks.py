"""The masks that transformers' decoders pass to their attention, and when they pass none.

Source: transformers, masking_utils.py, sdpa_mask, eager_mask and _ignore_causal_mask_sdpa.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload

if TYPE_CHECKING:
    import torch

Implementation = Literal["eager", "sdpa"]


def has_mask(workload: Workload, layer: AttentionPattern, implementation: Implementation) -> bool:
    """Whether a decoder's layer gets a mask.

    Under `eager` always. Under `sdpa`, not where the fused operator's `is_causal` takes its place,
    or where a single new token attends to all: if there is no window, or a longer one than the
    sequence.
    """
    if implementation == "eager" or workload.queries not in (1, workload.seq_len):
        return True
    return layer.window is not None and layer.window <= workload.seq_len


def is_fused_causal(workload: Workload, layer: AttentionPattern) -> bool:
    """Whether the fused operator is called with `is_causal` under `sdpa`."""
    is_whole = layer.causal and workload.queries == workload.seq_len
    return is_whole and not has_mask(workload, layer, "sdpa")


def causal_mask(
    workload: Workload, layer: AttentionPattern, implementation: Implementation
) -> torch.Tensor | None:
    """The mask of a decoder's layer, `(batch, 1, queries, keys)`; None for none.

    Under `eager`, numbers that are added to scores, in the default dtype. Under `sdpa`, true where
    a query attends to a key; all sequences of a batch share its memory.
    """
    import torch

    if not has_mask(workload, layer, implementation):
        return None
    first = workload.seq_len - workload.queries
    is_attended = torch.ones(workload.queries, workload.seq_len, dtype=torch.bool).tril_(first)
    if layer.left is not None:
        is_attended.triu_(first - layer.left)
    is_attended = is_attended.expand(workload.batch_size, 1, -1, -1)
    if implementation == "sdpa":
        return is_attended
    dtype = torch.get_default_dtype()
    return torch.where(is_attended, torch.zeros((), dtype=dtype), torch.finfo(dtype).min)


def mask_bytes(workload: Workload, layer: AttentionPattern, implementation: Implementation) -> int:
    """Bytes of `causal_mask`."""
    if not has_mask(workload, layer, implementation):
        return 0
    pairs = workload.queries * workload.seq_len
    return (
        workload.batch_size * pairs * workload.dtype_bytes if implementation == "eager" else pairs
    )
