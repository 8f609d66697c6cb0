"""Construction and costs of transformers' `MistralAttention`, shared by `mistral-eager` and -sdpa.

Its output projection is not part of them: they have the extent of the other kernels. Source:
transformers, models/mistral/modeling_mistral.py, classes MistralAttention and MistralModel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attnprof.core import formulas
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin._build import build_call
from attnprof.kernels.builtin._causal_masks import Implementation, causal_mask, mask_bytes
from attnprof.kernels.builtin._decoding import build_decoding, cached_bytes
from attnprof.kernels.builtin._features import unsupported_feature
from attnprof.kernels.builtin._memory import parameter_and_input_bytes

if TYPE_CHECKING:
    import torch


def build(workload: Workload, implementation: Implementation) -> Call:
    """`MistralAttention` without its output projection, and the masks that a model passes.

    Layers of equal windows share one mask, and all share the rotary embeddings, as in a model.
    """
    from transformers import MistralConfig

    from attnprof.nn.mistral import MistralSelfAttention, position_embeddings

    config = MistralConfig(
        hidden_size=workload.hidden_size,
        num_attention_heads=workload.num_heads,
        num_key_value_heads=workload.kv_heads,
        head_dim=workload.head_dim,
        sliding_window=None,  # read by kernels that take no mask only
    )
    config._attn_implementation = implementation
    masks: dict[AttentionPattern, torch.Tensor | None] = {}

    def make_layer(index: int, layer: AttentionPattern) -> Any:
        if layer not in masks:
            masks[layer] = causal_mask(workload, layer, implementation)
        return MistralSelfAttention(config, masks[layer], index)

    def make_kwargs(hidden_states: torch.Tensor) -> dict[str, Any]:
        first = workload.seq_len - workload.queries
        return {"position_embeddings": position_embeddings(config, workload.seq_len, first)}

    if workload.mode == "decode":
        return build_decoding(workload, make_layer, make_kwargs)
    return build_call(workload, workload.seq_len, make_layer, make_kwargs)


def unsupported_reason(workload: Workload) -> str | None:
    """Supports causal attention, dense or in a window."""
    layers = workload.layers
    reason = unsupported_feature(workload, ("causal", "grouped heads", "free widths", "decode"))
    if reason:
        return reason
    if not workload.pattern.causal:
        return "is causal; add --causal"
    if any(set(layer.dilation) != {1} for layer in layers):
        return "has no dilation"
    if any(layer.global_positions for layer in layers):
        return "has no attention sinks; add --global-tokens 0"
    if workload.value_dim != workload.head_dim:
        return "computes values as wide as keys"
    if workload.head_dim % 2:
        return f"rotates pairs of features; head_dim {workload.head_dim} is odd"
    if workload.mode == "decode" and any(layer.window == 1 for layer in layers):
        # DynamicSlidingWindowLayer keeps the last 1 - window keys, which for 1 are all.
        return "decodes with a window of 2 or more"
    return None


def parameters(workload: Workload) -> int:
    """Parameters of three projections per layer, which have no biases."""
    return formulas.parameters(workload, len(workload.layers), has_bias=False)


def static_bytes(workload: Workload, implementation: Implementation) -> int:
    """Bytes of parameters, hidden states, cosines and sines, each different mask, and the cache."""
    rotations = 2 * workload.queries * workload.head_dim * workload.dtype_bytes
    masks = sum(mask_bytes(workload, layer, implementation) for layer in set(workload.layers))
    inputs = parameter_and_input_bytes(workload, parameters(workload))
    return inputs + rotations + masks + cached_bytes(workload)
