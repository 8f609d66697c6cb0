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


def keys_of(workload: Workload, layer: AttentionPattern) -> int:
    """Keys that a decoder's layer multiplies each query with: those in its cache and the new ones.

    Of the keys in its window, the cache keeps all but one, which is the query's own.
    """
    earlier = workload.seq_len - workload.queries
    if layer.left is not None and workload.mode == "decode":
        earlier = min(earlier, layer.left)
    return earlier + workload.queries


def has_mask(workload: Workload, layer: AttentionPattern, implementation: Implementation) -> bool:
    """Whether a decoder's layer gets a mask.

    Under `eager` always. Under `sdpa` not if the window is longer than the keys, or if there is
    none: then a single query needs no mask, and for a whole sequence the fused operator's
    `is_causal` takes its place.
    """
    if implementation == "eager":
        return True
    keys = keys_of(workload, layer)
    if layer.window is not None and layer.window <= keys:
        return True
    return workload.queries not in (1, keys)


def is_fused_causal(workload: Workload, layer: AttentionPattern) -> bool:
    """Whether the fused operator is called with `is_causal` under `sdpa`."""
    is_masked = has_mask(workload, layer, "sdpa")
    return layer.causal and workload.queries > 1 and not is_masked


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
    queries, keys = workload.queries, keys_of(workload, layer)
    is_attended = torch.ones(queries, keys, dtype=torch.bool).tril_(keys - queries)
    if layer.left is not None:
        is_attended.triu_(keys - queries - layer.left)
    is_attended = is_attended.expand(workload.batch_size, 1, -1, -1)
    if implementation == "sdpa":
        return is_attended
    dtype = torch.get_default_dtype()
    return torch.where(is_attended, torch.zeros((), dtype=dtype), torch.finfo(dtype).min)


def mask_bytes(workload: Workload, layer: AttentionPattern, implementation: Implementation) -> int:
    """Bytes of `causal_mask`."""
    if not has_mask(workload, layer, implementation):
        return 0
    pairs = workload.queries * keys_of(workload, layer)
    return (
        workload.batch_size * pairs * workload.dtype_bytes if implementation == "eager" else pairs
    )
