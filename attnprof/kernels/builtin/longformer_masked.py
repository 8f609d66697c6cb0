"""Dense fused attention under the pattern's mask: quadratic, whatever the pattern."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from attnprof.core import formulas
from attnprof.core.blocks import ComputedBlocks
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
from attnprof.kernels.builtin._mac_factors import (
    all_pairs,
    dense_term,
    fused_scores_passes,
    projection_sets,
)
from attnprof.kernels.builtin._memory import (
    LayerMemory,
    Projected,
    activation_bytes,
    flash_cpu_backward_bytes,
    flash_cpu_forward_bytes,
    has_residual,
    log_sum_exp_bytes,
    parameter_and_input_bytes,
    projection_backward_bytes,
    stack_peak_bytes,
)
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
    return reason


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
    mask = _masks_of(layer) * m * n * workload.dtype_bytes
    fused = (
        flash_cpu_forward_bytes(workload, m, n)
        if workload.device == "cpu"
        else log_sum_exp_bytes(workload, m)
    )
    return DecodingMemory(
        forward=max(
            # query, new keys and values; all keys and values
            projected.query + new + grown,
            # query, output; all keys and values; the mask as numbers
            projected.query + projected.output + grown + mask + fused,
        ),
        kept=grown,
    )


def _layer_memory(workload: Workload, layer: AttentionPattern, index: int) -> LayerMemory:
    """Memory of one attention, as the largest of these moments.

    | moment | alive at the same time |
    |---|---|
    | window, forward | query, key, value, output; numeric mask; buffers of fused attention |
    | global rows, forward | the output, their query and output, keys and values; buffers |
    | global rows, backward | all that is saved, a copy of the gradient, gradients of keys, values |
    | window, backward | query, key, value and their gradients; numeric mask; buffers |
    | projections, backward | see `projection_backward_bytes` |
    """
    tensors = _Tensors.of(workload, layer)
    if workload.mode == "inference":
        return _inference_memory(tensors)
    return _training_memory(workload, layer, tensors)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensors:
    """Bytes of one attention's tensors; those of global rows are 0 without global tokens.

    Attributes:
        projected: query, key, value and output of all tokens, and weights.
        numeric_mask: the mask in the workload's type.
        log_sum_exp: what fused attention saves beside its output.
        fused: buffers of fused attention and its log-sum-exp.
        fused_backward: buffers of its backward pass.
        global_inputs: hidden states of global tokens.
        global_rows: their queries and outputs.
        fused_rows: as `fused`, of the global rows.
        fused_rows_backward: as `fused_backward`, of the global rows.
    """

    projected: Projected
    numeric_mask: int
    log_sum_exp: int
    fused: int
    fused_backward: int
    global_inputs: int
    global_rows: int
    fused_rows: int
    fused_rows_backward: int

    @classmethod
    def of(cls, workload: Workload, layer: AttentionPattern) -> _Tensors:
        """Sizes for one layer of the workload."""
        n, g = workload.seq_len, len(layer.symmetric_globals)
        log_sum_exp = log_sum_exp_bytes(workload, n)
        on_cpu = workload.device == "cpu"
        on_cpu_with_globals = on_cpu and g > 0
        return cls(
            projected=Projected.of(workload),
            numeric_mask=_masks_of(layer) * n * n * workload.dtype_bytes,
            log_sum_exp=log_sum_exp,
            fused=flash_cpu_forward_bytes(workload, n, n) if on_cpu else log_sum_exp,
            fused_backward=flash_cpu_backward_bytes(workload, n, n) if on_cpu else log_sum_exp,
            global_inputs=activation_bytes(workload, g),
            global_rows=activation_bytes(workload, g, workload.query_width + workload.output_width),
            fused_rows=flash_cpu_forward_bytes(workload, g, n) if on_cpu_with_globals else 0,
            fused_rows_backward=(
                flash_cpu_backward_bytes(workload, g, n) if on_cpu_with_globals else 0
            ),
        )

    @property
    def window_forward(self) -> int:
        """The peak of the forward pass before the global rows."""
        return self.projected.projected + self.projected.output + self.numeric_mask + self.fused

    @property
    def keys(self) -> int:
        """Keys and values of all tokens."""
        return self.projected.key + self.projected.value


def _inference_memory(tensors: _Tensors) -> LayerMemory:
    """Nothing is saved: the peak of the window, or of the global rows beside its output."""
    global_rows = tensors.keys + tensors.global_rows + tensors.fused_rows
    return LayerMemory(forward=max(tensors.window_forward, tensors.projected.output + global_rows))


def _training_memory(workload: Workload, layer: AttentionPattern, tensors: _Tensors) -> LayerMemory:
    """The peaks of both passes, and what is saved between them."""
    t, has_globals = tensors, bool(layer.symmetric_globals)
    weights = t.projected.weights
    saved = t.projected.projected + t.projected.output + t.numeric_mask + t.log_sum_exp
    if has_globals:
        # the rows' input, query and output, their keys and values, and a second output
        saved += t.keys + t.projected.output + t.global_inputs + t.global_rows
    # query, key, value and their gradients
    window = 2 * t.projected.projected + t.numeric_mask + t.log_sum_exp + t.fused_backward
    return LayerMemory(
        forward=max(t.window_forward, saved + t.fused_rows),
        saved=saved,
        output_backward=0 if has_globals else window,
        attention_backward=_backward_peak(workload, t, saved, window) if has_globals else 0,
        projection_backward=projection_backward_bytes(
            t.projected,
            has_residual=has_residual(workload),
            earlier_weights=weights if has_globals else 0,
        ),
        output_is_saved=True,
        gradients=projection_sets(layer) * weights,
    )


def _backward_peak(workload: Workload, t: _Tensors, saved: int, window: int) -> int:
    """Peak of the backward pass before the projections, with global tokens.

    The window reads a copy of the output's gradient without the global rows, and keeps an output
    without them. The global rows, which go first, leave the gradients of three projections and one
    of the input; where a residual has left one already, it is added to that.

    Args:
        workload: the call.
        t: sizes of tensors.
        saved: bytes that the forward pass saved.
        window: peak of the window's backward pass by itself.
    """
    of_input = 0 if has_residual(workload) else t.projected.hidden
    return max(
        # the copy, and the gradients of the global rows' keys and values
        saved + t.keys + t.global_rows + t.fused_rows_backward,
        window + 2 * t.projected.output + of_input + t.projected.weights,
    )
