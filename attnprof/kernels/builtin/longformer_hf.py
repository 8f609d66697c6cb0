"""transformers' `LongformerSelfAttention`: overlapping chunks of w by w, padded to the window.

Source: transformers, models/longformer/modeling_longformer.py, class LongformerSelfAttention.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from attnprof.core import formulas
from attnprof.core.blocks import BlockRun, ComputedBlocks, columns_of, rows_of
from attnprof.core.mac_terms import Factor, MacTerm, total_macs
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin._build import build_call
from attnprof.kernels.builtin._features import unsupported_feature
from attnprof.kernels.builtin._longformer_hf_memory import layer_memory
from attnprof.kernels.builtin._mac_factors import backward_products, global_term
from attnprof.kernels.builtin._memory import parameter_and_input_bytes, stack_peak_bytes

if TYPE_CHECKING:
    import torch

name = "longformer-hf"
summary = "sliding window and globals; transformers' LongformerSelfAttention, no dilation"
source = "Longformer, arXiv 2004.05150, section 3.1; transformers, modeling_longformer.py"
pattern_support: Literal["dense", "pattern"] = "pattern"
ptflops_misses = "einsum"
needs_compilation = False
has_float32_softmax = True

_PROJECTION_SETS = 2
_MASKED = -10_000.0
_GLOBAL = 10_000.0


def unsupported_reason(workload: Workload) -> str | None:
    """Supports undilated sliding windows of 4 keys or more, all dividing the widest of them."""
    if any(layer.is_dense for layer in workload.layers):
        return "computes a sliding window, not dense attention"
    unsupported = unsupported_feature(workload)
    if unsupported:
        return unsupported
    windows = [layer.window or 0 for layer in workload.layers]
    if any(stride > 1 for layer in workload.layers for stride in layer.dilation):
        return "transformers' module has no dilation"
    if min(windows) < 4:
        return "transformers' module fails with a window of 2"
    widest = max(windows)
    undivided = next((window for window in windows if widest % window), None)
    if undivided:
        return f"pads to the widest window, {widest}, which is not a multiple of window {undivided}"
    return None


def padding_multiple(workload: Workload) -> int:
    """The widest window: `LongformerModel` pads to multiples of it."""
    return max(layer.window or 1 for layer in workload.layers)


def _padded(workload: Workload) -> Workload:
    """The workload at the length that is computed."""
    step = padding_multiple(workload)
    return workload.at(-(-workload.seq_len // step) * step)


def parameters(workload: Workload) -> int:
    """Parameters of six projections per layer: the global ones exist without global tokens too."""
    return formulas.parameters(workload, len(workload.layers) * _PROJECTION_SETS)


def build(workload: Workload) -> Call:
    """`LongformerSelfAttention` with the masks that `LongformerModel` passes to it; no dropout."""
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

    return build_call(workload, _padded(workload).seq_len, make_layer, make_kwargs)


def mac_terms(workload: Workload) -> list[MacTerm]:
    """Projections, chunks and globals: b D (3.5 w n - w^2) a layer for the chunks.

    Scores: 2n/w - 1 chunks of w queries by w keys. Context: 2n/w chunks of w/2 queries, each with
    3w/2 values. A global token attends to n keys and n queries attend to it, each in two products.
    """
    padded = _padded(workload)
    n, width = padded.seq_len, Factor("D", workload.hidden_size)
    chunks: list[MacTerm] = []
    for layer, layers, suffix in formulas.layer_groups(padded):
        w = layer.window or 0
        scores = (Factor("(2n/w−1)", 2 * n // w - 1), Factor("w", w, 2), width)
        context = (formulas.tokens(padded), Factor("(3w/2)", 3 * w // 2), width)
        chunks += [
            formulas.term(padded, "scores", f"scores{suffix}", scores, layers=layers),
            formulas.term(padded, "context", f"context{suffix}", context, layers=layers),
        ]
    return [
        *formulas.weight_terms(padded),
        *chunks,
        *global_term(padded, "global attention", products=2 * formulas.FORWARD_PRODUCTS),
    ]


def executed_macs(workload: Workload) -> int:
    """The sum of `mac_terms`."""
    return total_macs(mac_terms(workload))


def blocks(workload: Workload, layer: AttentionPattern, head: int) -> tuple[ComputedBlocks, ...]:
    """Chunks of scores, chunks of context, and the rows and columns of global tokens.

    Chunks begin every w/2 tokens: those of scores overlap by half, those of context have the keys
    of their w/2 queries and w/2 on each side, beyond the ends of the sequence too.
    """
    n, w, width = _padded(workload).seq_len, layer.window or 0, workload.head_dim
    half, positions = w // 2, layer.global_positions
    score_chunks = BlockRun(range(w), range(w), 2 * n // w - 1, half, half)
    context_chunks = BlockRun(range(half), range(-half, w), 2 * n // w, half, half)
    backward = backward_products(workload, 1)
    chunks = (
        ComputedBlocks(runs=(score_chunks,), context=0, backward=backward, features=width),
        ComputedBlocks(runs=(context_chunks,), scores=0, backward=backward, features=width),
    )
    if not positions:
        return chunks
    return (
        *chunks,
        ComputedBlocks(
            runs=columns_of(positions, n) + rows_of(positions, n),
            backward=backward_products(workload),
            features=width,
        ),
    )


def static_bytes(workload: Workload) -> int:
    """Bytes of parameters, hidden states, the attention mask and two boolean masks made of it."""
    padded = _padded(workload)
    masks = workload.batch_size * padded.seq_len * (workload.dtype_bytes + 2)
    return parameter_and_input_bytes(padded, parameters(workload)) + masks


def peak_bytes(workload: Workload) -> int:
    """Peak bytes: the chunked scores twice, or the probabilities of the band in two layouts."""
    return stack_peak_bytes(_padded(workload), layer_memory)
