"""The masks that transformers' decoders pass to their attention.

Source: transformers, masking_utils.py, sdpa_mask and eager_mask.
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

    Under `eager` always. Under `sdpa` not if the window is longer than the sequence, or if there is
    none: the fused operator's `is_causal` takes its place.
    """
    if implementation == "eager":
        return True
    return layer.window is not None and layer.window <= workload.seq_len


def causal_mask(
    workload: Workload, layer: AttentionPattern, implementation: Implementation
) -> torch.Tensor | None:
    """The mask of a decoder's layer, `(batch, 1, seq_len, seq_len)`; None for none.

    Under `eager`, numbers that are added to scores, in the default dtype. Under `sdpa`, true where
    a query attends to a key; all sequences of a batch share its memory.
    """
    import torch

    if not has_mask(workload, layer, implementation):
        return None
    is_attended = torch.ones(workload.seq_len, workload.seq_len, dtype=torch.bool).tril_()
    if layer.left is not None:
        is_attended.triu_(-layer.left)
    is_attended = is_attended.expand(workload.batch_size, 1, -1, -1)
    if implementation == "sdpa":
        return is_attended
    dtype = torch.get_default_dtype()
    return torch.where(is_attended, torch.zeros((), dtype=dtype), torch.finfo(dtype).min)


def mask_bytes(workload: Workload, layer: AttentionPattern, implementation: Implementation) -> int:
    """Bytes of `causal_mask`."""
    if not has_mask(workload, layer, implementation):
        return 0
    pairs = workload.seq_len**2
    return (
        workload.batch_size * pairs * workload.dtype_bytes if implementation == "eager" else pairs
    )
