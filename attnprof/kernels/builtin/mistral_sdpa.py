"""transformers' `MistralAttention` under `sdpa`: fused attention, a window is a dense mask."""

from __future__ import annotations

from functools import partial
from typing import Literal

from attnprof.core import formulas
from attnprof.core.blocks import ComputedBlocks
from attnprof.core.causal_blocks import fused_causal_runs
from attnprof.core.cuda_attention import CudaAttention
from attnprof.core.mac_terms import MacTerm, total_macs
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin import _mistral
from attnprof.kernels.builtin._build import no_padding
from attnprof.kernels.builtin._causal_masks import has_mask, is_fused_causal, keys_of
from attnprof.kernels.builtin._decoding import (
    DecodingMemory,
    decoded_runs,
    decoded_terms,
    stack_cache_bytes,
    stack_decoding_bytes,
)
from attnprof.kernels.builtin._fused import (
    fused_call,
    fused_memory,
    unsupported_on_cuda,
)
from attnprof.kernels.builtin._mac_factors import (
    fused_attention_terms,
    fused_backward_products,
)
from attnprof.kernels.builtin._memory import (
    LayerMemory,
    Projected,
    stack_peak_bytes,
)
from attnprof.kernels.builtin._mistral_decoding import fused_decoding_memory
from attnprof.kernels.builtin._mistral_memory import (
    layer_projection_backward_bytes,
    repeats_are_copies,
    rotation_backward_bytes,
    rotation_bytes,
)

name = "mistral-sdpa"
summary = "causal; transformers' MistralAttention on torch's fused attention; a window is a mask"
source = (
    "transformers, modeling_mistral.py, MistralAttention, and sdpa_attention.py; torch, "
    "scaled_dot_product_attention"
)
pattern_support: Literal["dense", "pattern"] = "pattern"
ptflops_misses = "scaled_dot_product_attention"
needs_compilation = False
has_float32_softmax = False

padding_multiple = no_padding
parameters = _mistral.parameters
cache_bytes = stack_cache_bytes

_WIDEST_GROUPED_HEAD = 256
"""Up to this head_dim, transformers hands grouped keys to the fused operator as they are."""


def unsupported_reason(workload: Workload) -> str | None:
    """Supports causal attention, dense or in a window; on CUDA what torch fuses."""
    calls = [_fused_call(workload, layer) for layer in workload.layers]
    return _mistral.unsupported_reason(workload) or unsupported_on_cuda(workload, *calls)


def build(workload: Workload) -> Call:
    """`MistralAttention` under `sdpa`."""
    return _mistral.build(workload, "sdpa")


def static_bytes(workload: Workload) -> int:
    """Bytes of parameters, hidden states, rotary embeddings and boolean masks."""
    return _mistral.static_bytes(workload, "sdpa")


def mac_terms(workload: Workload) -> list[MacTerm]:
    """Projections; all n^2 pairs where there is a mask, else the blocks that are not skipped."""
    if workload.mode == "decode" and workload.queries < workload.seq_len:
        return [*formulas.weight_terms(workload), *decoded_terms(workload)]
    return [
        *formulas.weight_terms(workload),
        *fused_attention_terms(workload, partial(is_fused_causal, workload)),
    ]


def executed_macs(workload: Workload) -> int:
    """The sum of `mac_terms`."""
    return total_macs(mac_terms(workload))


def blocks(workload: Workload, layer: AttentionPattern, head: int) -> tuple[ComputedBlocks, ...]:
    """All pairs, as one block, under a mask; else the blocks that the operator does not skip."""
    is_causal, n = is_fused_causal(workload, layer), workload.seq_len
    runs = fused_causal_runs(n, workload.device) if is_causal else decoded_runs(workload, layer)
    return (
        ComputedBlocks(
            runs=runs, backward=fused_backward_products(workload), features=workload.head_dim
        ),
    )


def peak_bytes(workload: Workload) -> int:
    """Peak bytes: rotated queries and keys, values, output; with a mask, n^2 numbers as well."""
    if workload.mode == "decode":
        return stack_decoding_bytes(workload, partial(_decoding_memory, workload))
    return stack_peak_bytes(workload, _layer_memory)


def _decoding_memory(workload: Workload, layer: AttentionPattern) -> DecodingMemory:
    repeats_keys = _repeats_keys(workload, layer)
    return fused_decoding_memory(workload, layer, repeats_keys=repeats_keys)


def _layer_memory(workload: Workload, layer: AttentionPattern, index: int) -> LayerMemory:
    """Memory of one attention; the comments name the tensors alive at each moment."""
    projected = Projected.of(workload, has_bias=False)
    is_masked = has_mask(workload, layer, "sdpa")
    is_repeated = _repeats_keys(workload, layer)
    copied = projected.query if is_repeated and repeats_are_copies(workload) else 0
    masks = workload.batch_size if is_masked else 0
    fused = fused_memory(workload, _fused_call(workload, layer), masks)
    # rotated query and key, value; copies of the latter two take their place
    inputs = projected.query + 2 * copied if copied else projected.projected
    gradients = 3 * projected.query if is_repeated else projected.projected
    return LayerMemory(
        forward=max(
            rotation_bytes(projected),
            # rotated query and key, value, copies; numeric mask; output
            projected.projected
            + 2 * copied
            + max(fused.mask_making, fused.mask + projected.output + fused.forward),
        ),
        saved=inputs + fused.mask + projected.output + fused.saved,
        # the inputs and their gradients
        output_backward=inputs + gradients + fused.mask + fused.saved + fused.backward,
        attention_backward=max(
            # gradients of the inputs; that of the values of a group summed
            gradients + (projected.value if is_repeated else 0),
            rotation_backward_bytes(projected),
        ),
        projection_backward=layer_projection_backward_bytes(
            workload, projected, copies_value=is_repeated
        ),
        output_is_saved=True,
        gradients=projected.weights,
    )


def _fused_call(workload: Workload, layer: AttentionPattern) -> CudaAttention:
    """The operator's call in a layer: grouped keys are repeated, or not."""
    return fused_call(
        workload,
        workload.queries,
        keys_of(workload, layer),
        kv_heads=workload.num_heads if _repeats_keys(workload, layer) else None,
        has_mask=has_mask(workload, layer, "sdpa"),
    )


def _repeats_keys(workload: Workload, layer: AttentionPattern) -> bool:
    """Whether grouped keys and values are repeated for each query head: under a mask.

    Source: transformers, integrations/sdpa_attention.py, use_gqa_in_sdpa.
    """
    is_masked = has_mask(workload, layer, "sdpa")
    is_grouped = workload.kv_heads < workload.num_heads
    return is_grouped and (is_masked or workload.head_dim > _WIDEST_GROUPED_HEAD)
