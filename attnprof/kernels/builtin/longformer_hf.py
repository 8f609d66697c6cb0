"""transformers' `LongformerSelfAttention`: overlapping chunks of w by w, padded to the window.

Source: transformers, models/longformer/modeling_longformer.py, class LongformerSelfAttention; the
names of the moments below are those of its local variables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from attnprof.core import formulas
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin._build import build_call
from attnprof.kernels.builtin._memory import (
    LayerMemory,
    activation_bytes,
    has_residual,
    projection_backward_bytes,
    stack_peak_bytes,
    weight_bytes,
)

if TYPE_CHECKING:
    import torch

name = "longformer-hf"
summary = "sliding window and globals; transformers' LongformerSelfAttention, no dilation"
pattern_support: Literal["dense", "pattern"] = "pattern"
ptflops_misses = "einsum"
needs_compilation = False
has_float32_softmax = True

_PROJECTIONS = 6
_MASKED = -10_000.0
_GLOBAL = 10_000.0


def unsupported_reason(workload: Workload) -> str | None:
    """Sliding windows of 4 keys or more without dilation, all dividing the widest of them."""
    windows = [layer.window for layer in workload.layers if layer.window is not None]
    if len(windows) < len(workload.layers):
        return "computes a sliding window, not dense attention"
    if any(stride > 1 for layer in workload.layers for stride in layer.dilation):
        return "transformers' module has no dilation"
    if min(windows) < 4:
        return "transformers' module fails with a window of 2"
    odd_one = next((window for window in windows if max(windows) % window), None)
    if odd_one:
        return (
            f"pads to the widest window, {max(windows)}, which is no multiple of window {odd_one}"
        )
    return None


def padding_multiple(workload: Workload) -> int:
    """The widest window, as `LongformerModel` pads."""
    return max(layer.window or 1 for layer in workload.layers)


def _padded(workload: Workload) -> int:
    step = padding_multiple(workload)
    return -(-workload.seq_len // step) * step


def parameters(workload: Workload) -> int:
    """Six projections a layer; the global ones are there even when no token is global."""
    return formulas.parameters(workload, len(workload.layers) * _PROJECTIONS)


def build(workload: Workload) -> Call:
    """`LongformerSelfAttention` with the masks that `LongformerModel` hands to it; no dropout."""
    from transformers import LongformerConfig
    from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

    config = LongformerConfig(
        hidden_size=workload.hidden_size,
        num_attention_heads=workload.num_heads,
        num_hidden_layers=len(workload.layers),
        attention_window=[layer.window or 0 for layer in workload.layers],
        attention_probs_dropout_prob=0.0,
    )
    global_positions = workload.layers[0].global_positions

    def make_layer(index: int, layer: AttentionPattern) -> Any:
        return LongformerSelfAttention(config, index)

    def make_kwargs(hidden_states: torch.Tensor) -> dict[str, Any]:
        mask = hidden_states.new_zeros(hidden_states.shape[:2])
        mask[:, workload.seq_len :] = _MASKED
        mask[:, list(global_positions)] = _GLOBAL
        return {
            "attention_mask": mask,
            "is_index_masked": mask < 0,
            "is_index_global_attn": mask > 0,
            "is_global_attn": bool(global_positions),
        }

    return build_call(workload, _padded(workload), make_layer, make_kwargs)


def executed_macs(workload: Workload) -> int:
    """Projections, chunks of 2 x w/2 by w, and the globals: DESIGN's b D (3.5 w n - w^2) a layer.

    Scores: 2n/w - 1 chunks of w queries by w keys. Context: 2n/w chunks of w/2 queries by 3w/2
    values. A global token reads n keys and is read by n queries, each in two products.
    """
    n, batch, width = _padded(workload), workload.batch_size, workload.hidden_size
    macs = 0
    for layer in workload.layers:
        w, g = layer.window or 0, len(layer.global_positions)
        chunks = (2 * n - w) * w + 3 * n * w // 2
        macs += batch * width * (chunks + 4 * g * n)
        macs += formulas.weight_macs(workload.at(n), layer)
    return macs * (formulas.TRAINING_FACTOR if workload.mode == "training" else 1)


def static_bytes(workload: Workload) -> int:
    """Parameters, hidden states, and the attention mask with its two boolean readings."""
    n = _padded(workload)
    masks = workload.batch_size * n * (workload.dtype_bytes + 2)
    return parameters(workload) * workload.dtype_bytes + activation_bytes(workload, n) + masks


def peak_bytes(workload: Workload) -> int:
    """The chunked scores twice over, or the band of probabilities laid out twice."""
    return stack_peak_bytes(workload, _padded(workload), _layer_memory)


@dataclass(frozen=True, slots=True)
class _Tensors:
    """Bytes of the module's larger tensors; each name says which of its variables is meant."""

    activation: int
    weight: int
    chunked: int
    chunked_scores: int
    padded_scores: int
    band: int
    band_and_global: int
    float_band: int
    diagonal_mask: int
    padded_probs: int
    cut_probs: int
    padded_value: int
    chunked_value: int
    value_copy: int
    saved_value: int
    border_masks: int
    indices: int
    global_rows: int
    global_columns: int
    global_weights: int

    @classmethod
    def of(cls, workload: Workload, layer: AttentionPattern) -> _Tensors:
        n, w, g = _padded(workload), layer.window or 0, len(layer.global_positions)
        size, batch, heads = workload.dtype_bytes, workload.batch_size, workload.num_heads
        chunks = 2 * n // w - 1
        row = batch * heads * n
        value_numbers = batch * (n + w) * workload.hidden_size
        chunked_value_numbers = 3 * batch * n * workload.hidden_size
        # Chunks overlap: products copy them, unless one head of one sequence makes them a view.
        copies = batch * heads > 1
        return cls(
            activation=activation_bytes(workload, n),
            weight=weight_bytes(workload),
            chunked=batch * (chunks * w if copies else n) * workload.hidden_size * size,
            chunked_scores=batch * heads * chunks * w * w * size,
            padded_scores=batch * heads * chunks * w * (w + 1) * size,
            band=row * (w + 1) * size,
            band_and_global=row * (w + 1 + g) * size,
            # the softmax is computed in float32 whatever the type
            float_band=row * (w + 1 + g) * 4,
            diagonal_mask=batch * n * (w + 1) * size,
            padded_probs=row * (3 * w // 2 + 2) * size,
            cut_probs=row * (3 * w // 2) * size,
            padded_value=value_numbers * size,
            chunked_value=chunked_value_numbers * size,
            value_copy=chunked_value_numbers * size * copies,
            saved_value=(chunked_value_numbers if copies else value_numbers) * size,
            # two boolean corners of w/2 by w/2 + 1, for each head
            border_masks=2 * batch * heads * (w // 2) * (w // 2 + 1),
            # `as_strided` goes backward with 64-bit indices of its input and of its output
            indices=8 * (value_numbers + chunked_value_numbers),
            # what global tokens ask, and the probabilities of and by them
            global_rows=activation_bytes(workload, g) if g else 0,
            global_columns=row * g * size,
            global_weights=row * g * 4,
        )


def _layer_memory(workload: Workload, layer: AttentionPattern, index: int) -> LayerMemory:
    t = _Tensors.of(workload, layer)
    has_globals = bool(layer.global_positions)
    used = _PROJECTIONS if has_globals else 3
    # With several sequences, views of (batch, heads) have to be copied into one dimension.
    is_batch = workload.batch_size > 1
    has_chunks = t.value_copy > 0 and _padded(workload) > (layer.window or 0)
    # What the context is computed from: the band without the columns of the globals and their keys,
    # its output beside theirs, and a copy of the band in the layout of the chunks.
    band_for_context = has_globals * (t.activation + t.band) + t.global_rows
    band_copy = is_batch * t.band
    projected = 3 * t.activation
    # Probabilities before and after masking; scores of a lower precision that were not put together
    # with those of globals are converted in a tensor of their own.
    float_bands = 3 if workload.dtype_bytes < 4 and not has_globals else 2
    if workload.mode == "inference":
        probabilities = projected + t.diagonal_mask + t.band_and_global
        context = probabilities + band_for_context + t.padded_value + t.padded_probs
        return LayerMemory(
            forward=max(
                projected + t.chunked_scores + t.padded_scores,
                projected + t.padded_scores + t.band,
                probabilities + float_bands * t.float_band,
                context + band_copy,
                context + t.value_copy + t.activation,
            )
        )
    # Each projection keeps a copy of its transposed input; attentions write in that layout, so that
    # upper ones get theirs in it.
    copied_inputs = is_batch and (index == 0 or workload.scope == "layer")
    inputs = copied_inputs * 3 * t.activation
    chunks = has_chunks * 2 * t.chunked
    kept = inputs + t.border_masks
    # Once the layer below's output has been copied and added, nothing keeps it.
    let_go = (copied_inputs and index > 0) * t.activation
    left = kept - let_go
    # The globals' keys and values, and the window's scores, which chunks would have copied.
    global_activations = (2 + has_chunks) * t.activation
    saved = (
        left
        # chunked query and key, which are query and key themselves where there is one chunk
        + 2 * t.chunked
        + t.padded_probs
        + t.saved_value
        + t.float_band
        + t.activation
        + has_globals * global_activations
        + t.global_columns
        + 2 * t.global_rows
    )
    # What global tokens read goes backward first.
    of_global_rows = copied_inputs * has_globals * 2 * t.activation
    of_global_rows += t.global_weights + 2 * t.global_rows
    probabilities = kept + projected + chunks + t.diagonal_mask + t.float_band + t.band_and_global
    context = probabilities + band_for_context + t.padded_value + t.padded_probs
    of_globals = has_globals * (global_activations + 3 * t.weight)
    return LayerMemory(
        forward=max(
            kept + projected + chunks + t.chunked_scores + t.padded_scores,
            probabilities + (float_bands - 1) * t.float_band,
            context + band_copy,
            context + t.value_copy + t.activation,
            # what global tokens read: their scores beside the probabilities, and the output
            let_go
            + saved
            + of_global_rows
            + t.global_columns
            + 2 * t.global_rows
            + t.diagonal_mask
            + t.band_and_global,
        ),
        saved=saved + of_global_rows,
        # The gradient of the output is copied into another layout at once, and not read again.
        attention_backward=max(
            # gradients of the chunked values and probabilities
            saved + has_globals * 3 * t.weight + t.chunked_value + t.cut_probs,
            # the chunked values folded back
            left
            + 2 * t.chunked
            + t.chunked_value
            + t.padded_value
            + t.indices
            + t.band
            + t.float_band
            + t.global_columns
            + 2 * t.global_rows
            + of_globals,
            # the probabilities, their gradient and that of the scores
            left + 2 * t.chunked + 3 * t.float_band + of_globals,
            # the band folded back into chunks of scores
            left + 2 * t.chunked + t.activation + t.band + 5 * t.padded_scores // 2 + of_globals,
        ),
        # All read one transposed input, so that a residual's contribution is added at the end.
        projection_backward=projection_backward_bytes(
            t.activation, t.weight, used, has_residual=False
        )
        + has_residual(workload) * t.activation,
        gradients=used * t.weight,
    )
