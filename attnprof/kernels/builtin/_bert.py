"""Costs and construction of transformers' `BertSelfAttention`, shared by `bert-eager` and -sdpa.

Source: transformers, models/bert/modeling_bert.py, class BertSelfAttention.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from attnprof.core import formulas
from attnprof.core.blocks import BlockRun, ComputedBlocks
from attnprof.core.mac_terms import Factor, MacTerm
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin._build import build_call
from attnprof.kernels.builtin._decoding import (
    Implementation,
    build_decoding,
    cached_input_bytes,
    causal_mask,
    mask_bytes,
    unsupported_decoding,
)
from attnprof.kernels.builtin._features import unsupported_feature
from attnprof.kernels.builtin._mac_factors import dense_term
from attnprof.kernels.builtin._memory import parameter_and_input_bytes


def build(workload: Workload, implementation: Implementation) -> Call:
    """`BertSelfAttention` with that attention implementation and without dropout."""
    from transformers import BertConfig
    from transformers.models.bert.modeling_bert import BertSelfAttention

    is_causal = workload.pattern.causal

    def make_layer(index: int, layer: AttentionPattern) -> Any:
        config = BertConfig(
            hidden_size=workload.hidden_size,
            num_attention_heads=workload.num_heads,
            attention_probs_dropout_prob=0.0,
            is_decoder=is_causal,
        )
        config._attn_implementation = implementation
        return BertSelfAttention(config, is_causal=is_causal, layer_idx=index)

    if workload.mode == "decode":
        return build_decoding(workload, make_layer, partial(causal_mask, workload, implementation))
    return build_call(workload, workload.seq_len, make_layer)


def unsupported_reason(workload: Workload) -> str | None:
    """Supports dense attention only."""
    if not workload.is_dense:
        return "computes dense attention, not a sliding window"
    return unsupported_decoding(workload) or unsupported_feature(workload, ("decode", "causal"))


def blocks(workload: Workload, backward: int) -> tuple[ComputedBlocks, ...]:
    """All pairs, as one block.

    Args:
        workload: the call.
        backward: products over it in the backward pass.
    """
    tokens = range(workload.seq_len)
    queries = tokens[-workload.queries :]
    return (
        ComputedBlocks(
            runs=(BlockRun(queries, tokens),), backward=backward, features=workload.head_dim
        ),
    )


def mac_terms(
    workload: Workload, *, scores_passes: Factor | int, context_passes: Factor | int
) -> list[MacTerm]:
    """Projections, scores and context: 3 b n D^2 + 2 b n^2 D a layer.

    Args:
        workload: the call.
        scores_passes: how often scores are multiplied, gradients included.
        context_passes: as `scores_passes`, of probabilities by values.
    """
    return [
        *formulas.weight_terms(workload),
        dense_term(workload, "scores", scores_passes),
        dense_term(workload, "context", context_passes),
    ]


def parameters(workload: Workload) -> int:
    """Parameters of three projections per layer."""
    return formulas.parameters(workload, len(workload.layers))


def static_bytes(workload: Workload, implementation: Implementation) -> int:
    """Bytes of parameters and hidden states; of decoding, of the cache and the mask too."""
    inputs = parameter_and_input_bytes(workload, parameters(workload))
    if workload.mode != "decode":
        return inputs
    return inputs + cached_input_bytes(workload) + mask_bytes(workload, implementation)
