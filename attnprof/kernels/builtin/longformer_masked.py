"""Dense fused attention under the pattern's mask: quadratic, whatever the pattern."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from attnprof.core import formulas
from attnprof.core.blocks import ComputedBlocks
from attnprof.core.cuda_attention import CudaAttention
from attnprof.core.mac_terms import MacTerm, total_macs
from attnprof.core.mask_pattern import MaskPattern
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin import _projected
from attnprof.kernels.builtin._build import build_call, no_padding
from attnprof.kernels.builtin._decoding import (
    DecodingMemory,
    stack_decoding_bytes,
    unsupported_decoding,
)
from attnprof.kernels.builtin._fused import (
    fused_call,
    fused_memory,
    unsupported_on_cuda,
)
from attnprof.kernels.builtin._mac_factors import (
    all_pairs,
    dense_term,
    fused_scores_passes,
)
from attnprof.kernels.builtin._memory import (
    LayerMemory,
    Projected,
    parameter_and_input_bytes,
    stack_peak_bytes,
)
from attnprof.kernels.builtin._projected_memory import projected_memory
from attnprof.kernels.builtin._window_decoding import (
    build_window_decoding,
    grown_window_bytes,
    window_cache_bytes,
    window_cached_bytes,
)

if TYPE_CHECKING:
    import torch

name = "longformer-masked"
summary = "any pattern; dense fused attention under a mask: quadratic"
source = "Longformer, arXiv 2004.05150, section 3.1; torch, scaled_dot_product_attention"
pattern_support: Literal["dense", "pattern"] = "pattern"
ptflops_misses = "scaled_dot_product_attention"
needs_compilation = False
has_float32_softmax = False

padding_multiple = no_padding
parameters = _projected.parameters

_MASK_ROWS_PER_STEP = 256


def unsupported_reason(workload: Workload) -> str | None:
    """Supports every sparse pattern, and causal attention."""
    reason = unsupported_decoding(workload) or _projected.unsupported_pattern(workload, "decode")
    if reason is None and workload.device == "cpu" and workload.value_dim != workload.head_dim:
        return "torch fuses attention on CPU only where values are as wide as keys"
    return reason or _unsupported_on_cuda(workload)


def _unsupported_on_cuda(workload: Workload) -> str | None:
    calls = [_window_call(workload, layer) for layer in workload.layers]
    if any(layer.symmetric_globals for layer in workload.layers):
        calls.append(fused_call(workload, workload.seq_len, workload.seq_len))
    return unsupported_on_cuda(workload, *calls)


def _window_call(workload: Workload, layer: AttentionPattern) -> CudaAttention:
    """The operator's call in a layer, without the rows of global tokens."""
    has_mask = _masks_of(layer) > 0
    return fused_call(workload, workload.queries, workload.seq_len, has_mask=has_mask)


def build(workload: Workload) -> Call:
    """`MaskedSelfAttention` with the pattern's mask of each layer."""
    from attnprof.nn.masked import MaskedSelfAttention

    shape = _projected.head_shape(workload)

    def make_layer(index: int, layer: AttentionPattern) -> Any:
        mask = _mask(layer, workload) if _masks_of(layer) else None
        return MaskedSelfAttention(shape, mask, layer.symmetric_globals, index)

    if workload.mode == "decode":
        return build_window_decoding(workload, make_layer, workload.densified())
    return build_call(workload, workload.seq_len, make_layer)


def _mask(layer: AttentionPattern, workload: Workload) -> torch.Tensor:
    """Bool `(heads or 1, queries, seq_len)`; one mask where all heads are alike."""
    import torch

    from attnprof.counting.fake_tensors import is_fake_mode

    if _masks_of(layer) == 1 and not isinstance(layer, MaskPattern):
        layer = replace(layer, num_heads=1, dilation=layer.dilation[:1])
    seq_len, first = workload.seq_len, workload.seq_len - workload.queries
    mask = torch.empty(_masks_of(layer), workload.queries, seq_len, dtype=torch.bool)
    if is_fake_mode():
        return mask
    for start in range(first, seq_len, _MASK_ROWS_PER_STEP):
        stop = min(start + _MASK_ROWS_PER_STEP, seq_len)
        rows = layer.mask_rows(seq_len, start, stop)[: len(mask)]
        mask[:, start - first : stop - first] = torch.tensor(rows)
    return mask


def _masks_of(layer: AttentionPattern) -> int:
    """Masks of a layer: one, or one per head where heads differ; none if all attend to all."""
    return 0 if layer.is_dense and not layer.causal else _projected.masks_of(layer)


def mac_terms(workload: Workload) -> list[MacTerm]:
    """Projections, all n^2 pairs whatever the mask, and the global rows once more."""
    return [
        *formulas.weight_terms(workload),
        dense_term(workload, "scores", fused_scores_passes(workload)),
        dense_term(workload, "context", formulas.training_passes(workload)),
        *_projected.global_row_terms(workload),
    ]


def executed_macs(workload: Workload) -> int:
    """The sum of `mac_terms`."""
    return total_macs(mac_terms(workload))


def blocks(workload: Workload, layer: AttentionPattern, head: int) -> tuple[ComputedBlocks, ...]:
    """All pairs, as one block, and the rows of global tokens once more."""
    return _projected.computed_blocks(workload, layer, all_pairs(workload))


def static_bytes(workload: Workload) -> int:
    """Bytes of parameters, hidden states, the boolean masks and the cache before the call."""
    pairs = workload.queries * workload.seq_len
    masks = sum(_masks_of(layer) * pairs for layer in workload.layers)
    inputs = parameter_and_input_bytes(workload, parameters(workload))
    return inputs + masks + window_cached_bytes(workload.densified())


def cache_bytes(workload: Workload) -> int:
    """Bytes that the cache has allocated after a call: keys and values of all tokens."""
    return window_cache_bytes(workload.densified())


def peak_bytes(workload: Workload) -> int:
    """Peak bytes: query, key, value and output, and the mask converted to numbers."""
    if workload.mode == "decode":
        return stack_decoding_bytes(workload, partial(_decoding_memory, workload))
    return stack_peak_bytes(workload, _layer_memory)


def _decoding_memory(workload: Workload, layer: AttentionPattern) -> DecodingMemory:
    """Memory of one attention that decodes; the comments name the tensors alive at each moment."""
    m, n, projected = workload.queries, workload.seq_len, Projected.of(workload)
    dense = workload.densified()
    grown = grown_window_bytes(dense, dense.layers[0])
    new = projected.key + projected.value if m < n else 0
    fused = fused_memory(workload, _window_call(workload, layer), _masks_of(layer))
    return DecodingMemory(
        forward=max(
            # query, new keys and values; all keys and values
            projected.query + new + grown,
            # query, output; all keys and values; the mask as numbers
            projected.query
            + grown
            + max(fused.mask_making, projected.output + fused.mask + fused.forward),
        ),
        kept=grown,
    )


def _layer_memory(workload: Workload, layer: AttentionPattern, index: int) -> LayerMemory:
    fused = fused_memory(workload, _window_call(workload, layer), _masks_of(layer))
    return projected_memory(workload, layer, fused)
