"""Construction and costs of transformers' `BertSelfAttention`, shared by `bert-eager` and -sdpa.

With `causal`, it is that of a model with `is_decoder`: `BertModel` passes a mask to `eager`, and
under `sdpa` the fused operator is called with `is_causal`. Source: transformers,
models/bert/modeling_bert.py, classes BertSelfAttention and BertModel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attnprof.core import formulas
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin._build import build_call
from attnprof.kernels.builtin._causal_masks import Implementation, causal_mask, mask_bytes
from attnprof.kernels.builtin._decoding import build_decoding, cached_bytes, unsupported_decoding
from attnprof.kernels.builtin._features import unsupported_feature
from attnprof.kernels.builtin._memory import parameter_and_input_bytes

if TYPE_CHECKING:
    import torch


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

    def make_kwargs(hidden_states: torch.Tensor) -> dict[str, Any]:
        mask = causal_mask(workload, workload.layers[0], implementation) if is_causal else None
        return {} if mask is None else {"attention_mask": mask}

    if workload.mode == "decode":
        return build_decoding(workload, make_layer, make_kwargs)
    return build_call(workload, workload.seq_len, make_layer, make_kwargs)


def unsupported_reason(workload: Workload) -> str | None:
    """Supports dense attention only."""
    if not workload.is_dense:
        return "computes dense attention, not a sliding window"
    return unsupported_decoding(workload) or unsupported_feature(workload, ("causal", "decode"))


def parameters(workload: Workload) -> int:
    """Parameters of three projections per layer."""
    return formulas.parameters(workload, len(workload.layers))


def static_bytes(workload: Workload, implementation: Implementation) -> int:
    """Bytes of parameters, hidden states, the mask of a causal call, and the cache before it."""
    layer = workload.layers[0]
    mask = mask_bytes(workload, layer, implementation) if layer.causal else 0
    inputs = parameter_and_input_bytes(workload, parameters(workload))
    return inputs + mask + cached_bytes(workload)
