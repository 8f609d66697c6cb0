"""Peak memory of `longformer-hf`; a moment is named after the module's local variables.

Source: transformers, models/longformer/modeling_longformer.py, class LongformerSelfAttention.
"""

from __future__ import annotations

from dataclasses import dataclass

from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.kernels.builtin._mac_factors import projection_sets
from attnprof.kernels.builtin._memory import (
    LayerMemory,
    Projected,
    activation_bytes,
    has_residual,
    projection_backward_bytes,
    weight_bytes,
)


def layer_memory(workload: Workload, layer: AttentionPattern, index: int) -> LayerMemory:
    """Memory of one attention at a padded length.

    Forward, in both modes; in training, what the backward pass needs stays alive in addition:

    | moment | alive at the same time, beside query, key and value |
    |---|---|
    | `diagonal_chunked_attention_scores` | scores of chunks, and the same padded by one column |
    | `diagonal_attention_scores` | padded scores, and the band they are copied into |
    | softmax | band with global columns, mask of the band, probabilities in float32 |
    | context | band with global columns, its mask, padded values and probabilities, and a copy |
    | global rows (training) | all that is saved, probabilities and scores of global tokens |

    Backward, each with what is saved and not yet released:

    | moment | alive at the same time |
    |---|---|
    | context | gradients of the chunked values and of the probabilities |
    | `chunked_value` | its gradient in chunks and folded back, indices of both |
    | softmax | probabilities, their gradient and that of the scores |
    | `_chunk` | the band's gradient folded back into chunks of scores |
    | projections | see `projection_backward_bytes` |

    Args:
        workload: the call; its `seq_len` is a multiple of every window.
        layer: the pattern of this layer.
        index: 0 for the bottom layer.
    """
    tensors = _Tensors.of(workload, layer)
    copies = _Copies.of(workload, layer, index, tensors)
    global_tensors = _GlobalTensors.of(workload, layer, index, tensors)
    if workload.mode == "inference":
        return _inference_memory(tensors, copies, global_tensors)
    return _training_memory(workload, layer, tensors, copies, global_tensors)


@dataclass(frozen=True, slots=True)
class _Tensors:
    """Bytes of the module's larger tensors, named after its variables.

    Attributes:
        activation: one `(batch, seq_len, hidden)` tensor.
        weight: one projection.
        chunked: queries, or keys, in overlapping chunks of `window` tokens.
        chunked_scores: scores of each chunk, `window` by `window`.
        padded_scores: the same with one column more.
        band: scores `(batch, seq_len, heads, window + 1)`.
        band_and_global: the same with a column for each global token.
        float_band: the probabilities of both, in float32 whatever the type.
        float_bands: probabilities before and after masking; scores of a lower precision, unless
            joined with those of global tokens, are converted in a separate tensor.
        diagonal_mask: the mask of the band, for one head.
        padded_probs: probabilities in chunks of half a window, padded to be shifted.
        cut_probs: the same, shifted and cut to one and a half windows.
        padded_value: values with half a window of padding at both ends.
        chunked_value: values in overlapping chunks of one and a half windows.
        value_copy: the copy of these that the product makes; 0 where a view serves.
        saved_value: what the product saves of the values for its backward pass.
        border_masks: two boolean corners of w/2 by w/2 + 1, for each head.
        indices: 64-bit indices of input and output, used by the backward of `as_strided`.
        global_rows: `(batch, global tokens, hidden)`, such as the queries of global tokens.
        global_columns: scores of all tokens with the global ones.
        global_weights: probabilities of the global tokens' queries, in float32.
    """

    activation: int
    weight: int
    chunked: int
    chunked_scores: int
    padded_scores: int
    band: int
    band_and_global: int
    float_band: int
    float_bands: int
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
        """Sizes for one layer of the workload, at its padded length."""
        n, w, g = workload.seq_len, layer.window or 0, len(layer.global_positions)
        size, batch, heads = workload.dtype_bytes, workload.batch_size, workload.num_heads
        chunks = 2 * n // w - 1
        row = batch * heads * n
        value_numbers = batch * (n + w) * workload.hidden_size
        chunked_value_numbers = 3 * batch * n * workload.hidden_size
        # Chunks overlap: products copy them, unless one head of one sequence makes them a view.
        copies = batch * heads > 1
        float_band = row * (w + 1 + g) * 4
        return cls(
            activation=activation_bytes(workload, n),
            weight=weight_bytes(workload),
            chunked=batch * (chunks * w if copies else n) * workload.hidden_size * size,
            chunked_scores=batch * heads * chunks * w * w * size,
            padded_scores=batch * heads * chunks * w * (w + 1) * size,
            band=row * (w + 1) * size,
            band_and_global=row * (w + 1 + g) * size,
            float_band=float_band,
            float_bands=(3 if size < 4 and g == 0 else 2) * float_band,
            diagonal_mask=batch * n * (w + 1) * size,
            padded_probs=row * (3 * w // 2 + 2) * size,
            cut_probs=row * (3 * w // 2) * size,
            padded_value=value_numbers * size,
            chunked_value=chunked_value_numbers * size,
            value_copy=chunked_value_numbers * size if copies else 0,
            saved_value=(chunked_value_numbers if copies else value_numbers) * size,
            border_masks=2 * batch * heads * (w // 2) * (w // 2 + 1),
            indices=8 * (value_numbers + chunked_value_numbers),
            global_rows=activation_bytes(workload, g),
            global_columns=row * g * size,
            global_weights=row * g * 4,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copies:
    """Bytes of copies that only some shapes need; 0 where a view serves.

    Attributes:
        band: the band in the layout of the chunks, with several sequences.
        inputs: transposed inputs, one saved by each projection, with several sequences.
        released_input: the layer below's output, freed once it has been copied and added.
        chunks: query and key in chunks, unless one chunk holds the sequence.
    """

    band: int
    inputs: int
    released_input: int
    chunks: int

    @classmethod
    def of(
        cls, workload: Workload, layer: AttentionPattern, index: int, tensors: _Tensors
    ) -> _Copies:
        """Sizes for the layer of that index."""
        copies_inputs = _copies_inputs(workload, index)
        return cls(
            # Views of (batch, heads) have to be copied into one dimension.
            band=tensors.band if workload.batch_size > 1 else 0,
            inputs=3 * tensors.activation if copies_inputs else 0,
            released_input=tensors.activation if copies_inputs and index > 0 else 0,
            chunks=2 * tensors.chunked if _has_chunks(workload, layer, tensors) else 0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _GlobalTensors:
    """Bytes of what exists only with global tokens; 0 without them.

    Attributes:
        context: the band without its global columns, and the output of global keys.
        activations: keys and values of global rows, and the scores of the window that chunks would
            have copied.
        gradients: gradients of the three projections of global tokens, computed first.
        input_copies: as `_Copies.inputs`, for the keys and values of global rows.
    """

    context: int = 0
    activations: int = 0
    gradients: int = 0
    input_copies: int = 0

    @classmethod
    def of(
        cls, workload: Workload, layer: AttentionPattern, index: int, tensors: _Tensors
    ) -> _GlobalTensors:
        """Sizes for the layer of that index."""
        if not layer.global_positions:
            return cls()
        has_chunks = _has_chunks(workload, layer, tensors)
        return cls(
            context=tensors.activation + tensors.band,
            activations=(3 if has_chunks else 2) * tensors.activation,
            gradients=3 * tensors.weight,
            input_copies=2 * tensors.activation if _copies_inputs(workload, index) else 0,
        )


def _copies_inputs(workload: Workload, index: int) -> bool:
    """Whether projections save a transposed copy of their input.

    They do with several sequences, except in a layer that reads the output of the attention below:
    that is in this layout already.
    """
    return workload.batch_size > 1 and (index == 0 or workload.scope == "layer")


def _has_chunks(workload: Workload, layer: AttentionPattern, tensors: _Tensors) -> bool:
    """Whether chunks overlap and are copied, rather than viewed."""
    return tensors.value_copy > 0 and workload.seq_len > (layer.window or 0)


def _inference_memory(t: _Tensors, copies: _Copies, global_tensors: _GlobalTensors) -> LayerMemory:
    """Nothing is saved: only the peak of the forward pass."""
    scores = 3 * t.activation + t.padded_scores + t.band
    return LayerMemory(forward=max(scores, _forward_peak(t, copies, global_tensors, 0, 0)))


def _training_memory(
    workload: Workload,
    layer: AttentionPattern,
    t: _Tensors,
    copies: _Copies,
    global_tensors: _GlobalTensors,
) -> LayerMemory:
    """The peaks of both passes, and what is saved between them."""
    kept = copies.inputs + t.border_masks
    # chunked query and key, which are query and key themselves where there is one chunk
    with_chunks = kept - copies.released_input + 2 * t.chunked
    values_and_output = t.padded_probs + t.saved_value + t.float_band + t.activation
    globals_saved = global_tensors.activations + t.global_columns + 2 * t.global_rows
    saved = with_chunks + values_and_output + globals_saved
    saved_by_rows = global_tensors.input_copies + t.global_weights + 2 * t.global_rows
    # scores of the global rows beside the probabilities, and their output
    rows = t.global_columns + 2 * t.global_rows + t.diagonal_mask + t.band_and_global
    projections = 3 * projection_sets(layer)
    return LayerMemory(
        forward=max(
            _forward_peak(t, copies, global_tensors, kept + copies.chunks, t.float_band),
            copies.released_input + saved + saved_by_rows + rows,
        ),
        saved=saved + saved_by_rows,
        # The gradient of the output is copied into another layout at once, and not read again.
        output_backward=0,
        attention_backward=_backward_peak(t, global_tensors, saved, with_chunks),
        projection_backward=_projection_backward_peak(workload, t, projections),
        gradients=projections * t.weight,
    )


def _forward_peak(
    t: _Tensors,
    copies: _Copies,
    global_tensors: _GlobalTensors,
    saved_before: int,
    saved_probabilities: int,
) -> int:
    """Peak up to the context.

    Args:
        t: sizes of tensors.
        copies: sizes of copies.
        global_tensors: sizes of what exists only with global tokens.
        saved_before: bytes saved before the scores are computed, for the backward pass.
        saved_probabilities: bytes of the probabilities that are saved for it.
    """
    projected = saved_before + 3 * t.activation
    softmax_input = projected + t.diagonal_mask + t.band_and_global
    context_input = saved_probabilities + global_tensors.context + t.global_rows
    context = softmax_input + context_input + t.padded_value + t.padded_probs
    return max(
        projected + t.chunked_scores + t.padded_scores,
        softmax_input + t.float_bands,
        context + copies.band,
        context + t.value_copy + t.activation,
    )


def _backward_peak(
    t: _Tensors, global_tensors: _GlobalTensors, saved: int, with_chunks: int
) -> int:
    """Peak of the backward pass before the projections; what global rows saved is gone by then.

    Args:
        t: sizes of tensors.
        global_tensors: sizes of what exists only with global tokens.
        saved: bytes that the forward pass saved, those of global rows left out.
        with_chunks: the part of them that is alive until the scores' gradient is computed.
    """
    alive = with_chunks + global_tensors.activations + global_tensors.gradients
    values = t.chunked_value + t.padded_value + t.indices
    probabilities = t.band + t.float_band + t.global_columns + 2 * t.global_rows
    return max(
        # context: gradients of the chunked values and probabilities
        saved + global_tensors.gradients + t.chunked_value + t.cut_probs,
        # chunked_value: its gradient folded back
        alive + values + probabilities,
        # softmax: the probabilities, their gradient and that of the scores
        alive + 3 * t.float_band,
        # _chunk: the band's gradient folded back into chunks of scores
        alive + t.activation + t.band + 5 * t.padded_scores // 2,
    )


def _projection_backward_peak(workload: Workload, t: _Tensors, projections: int) -> int:
    """All projections read one transposed input; a residual's contribution is added at the end."""
    earlier = (projections - 3) * t.weight
    peak = projection_backward_bytes(
        Projected.of(workload), has_residual=False, earlier_weights=earlier
    )
    return peak + t.activation if has_residual(workload) else peak
