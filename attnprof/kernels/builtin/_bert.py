"""Costs and construction of transformers' `BertSelfAttention`, shared by `bert-eager` and -sdpa.

Source: transformers, models/bert/modeling_bert.py, class BertSelfAttention.
"""

from __future__ import annotations

from typing import Any, Literal

from attnprof.core import formulas
from attnprof.core.mac_parts import MacParts, sum_parts
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin._build import build_call
from attnprof.kernels.builtin._mac_factors import layer_parts
from attnprof.kernels.builtin._memory import parameter_and_input_bytes

PROJECTIONS = 3


def build(workload: Workload, implementation: Literal["eager", "sdpa"]) -> Call:
    """`BertSelfAttention` with that attention implementation and without dropout."""
    from transformers import BertConfig
    from transformers.models.bert.modeling_bert import BertSelfAttention

    def make_layer(index: int, layer: AttentionPattern) -> Any:
        config = BertConfig(
            hidden_size=workload.hidden_size,
            num_attention_heads=workload.num_heads,
            attention_probs_dropout_prob=0.0,
        )
        config._attn_implementation = implementation
        return BertSelfAttention(config)

    return build_call(workload, workload.seq_len, make_layer)


def unsupported_reason(workload: Workload) -> str | None:
    """Supports dense attention only."""
    if not workload.is_dense:
        return "computes dense attention, not a sliding window"
    return None


def parameters(workload: Workload) -> int:
    """Parameters of three projections per layer."""
    return formulas.parameters(workload, len(workload.layers) * PROJECTIONS)


def mac_parts(workload: Workload, *, score_products: int, context_products: int) -> MacParts:
    """The parts of all layers, with b n^2 D MACs for each product of scores or context."""
    product = workload.batch_size * workload.seq_len**2 * workload.hidden_size
    layer = layer_parts(
        workload, scores=score_products * product, context=context_products * product
    )
    return sum_parts([(len(workload.layers), layer)])


def static_bytes(workload: Workload) -> int:
    """Bytes of parameters and hidden states."""
    return parameter_and_input_bytes(workload, parameters(workload))
