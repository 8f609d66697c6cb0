"""transformers' `MistralAttention` under `eager`: n^2 scores per head, whatever the window."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from attnprof.core import formulas
from attnprof.core.blocks import ComputedBlocks
from attnprof.core.mac_terms import MacTerm, total_macs
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin import _mistral
from attnprof.kernels.builtin._build import no_padding
from attnprof.kernels.builtin._decoding import (
    decoded_runs,
    decoded_terms,
    stack_cache_bytes,
    stack_decoding_bytes,
)
from attnprof.kernels.builtin._mac_factors import materialized_blocks, materialized_terms
from attnprof.kernels.builtin._memory import LayerMemory, Projected, stack_peak_bytes
from attnprof.kernels.builtin._mistral_decoding import eager_decoding_memory
from attnprof.kernels.builtin._mistral_memory import (
    layer_projection_backward_bytes,
    repeats_are_copies,
    rotation_backward_bytes,
    rotation_bytes,
)

name = "mistral-eager"
summary = "causal; transformers' MistralAttention, scores materialised; a window is a mask"
source = "transformers, modeling_mistral.py, MistralAttention and eager_attention_forward"
pattern_support: Literal["dense", "pattern"] = "pattern"
ptflops_misses = ""
needs_compilation = False
has_float32_softmax = True

unsupported_reason = _mistral.unsupported_reason
padding_multiple = no_padding
parameters = _mistral.parameters
cache_bytes = stack_cache_bytes


def build(workload: Workload) -> Call:
    """`MistralAttention` under `eager`."""
    return _mistral.build(workload, "eager")


def static_bytes(workload: Workload) -> int:
    """Bytes of parameters, hidden states, rotary embeddings and masks of numbers."""
    return _mistral.static_bytes(workload, "eager")


def mac_terms(workload: Workload) -> list[MacTerm]:
    """Projections, and products of all pairs, masked or not: 2 b n^2 H d a layer."""
    if workload.mode == "decode":
        return [*formulas.weight_terms(workload), *decoded_terms(workload)]
    return materialized_terms(workload)


def executed_macs(workload: Workload) -> int:
    """The sum of `mac_terms`."""
    return total_macs(mac_terms(workload))


def blocks(workload: Workload, layer: AttentionPattern, head: int) -> tuple[ComputedBlocks, ...]:
    """All pairs, as one block."""
    return materialized_blocks(workload, decoded_runs(workload, layer))


def peak_bytes(workload: Workload) -> int:
    """Peak bytes: several tensors of scores, in float32 where probabilities are computed."""
    if workload.mode == "decode":
        return stack_decoding_bytes(workload, partial(eager_decoding_memory, workload))
    return stack_peak_bytes(workload, _layer_memory)


def _layer_memory(workload: Workload, layer: AttentionPattern, index: int) -> LayerMemory:
    """Memory of one attention; the comments name the tensors alive at each moment."""
    t = _Tensors.of(workload)
    p, scores, exact = t.projected, t.scores, t.exact
    saved = p.query + t.saved_key + t.saved_value + scores + exact
    return LayerMemory(
        forward=_forward_bytes(t, is_training=workload.mode == "training"),
        saved=saved + p.output,
        # what is saved; gradients of values and probabilities
        output_backward=saved + t.repeated + scores,
        output_gradient_copy=p.output if t.query_copy else 0,
        attention_backward=max(
            # query, key, gradient of value; probabilities, their gradient and that of the scores
            p.query + t.saved_key + t.repeated + 3 * (exact or scores),
            # gradients of scores before and after they are scaled
            p.query + t.saved_key + t.repeated + exact + 2 * scores,
            # gradients of query and key as well
            2 * p.query + t.saved_key + 2 * t.repeated + scores,
            # all gradients, and those of the values of a group summed
            p.query + 2 * t.repeated + p.value,
            rotation_backward_bytes(p),
        ),
        projection_backward=layer_projection_backward_bytes(workload, p, copies_value=True),
        gradients=p.weights,
    )


def _forward_bytes(t: _Tensors, *, is_training: bool) -> int:
    """Peak bytes of the forward pass.

    Args:
        t: sizes of tensors.
        is_training: whether what products have copied stays, and probabilities in float32.
    """
    scores, exact, output = t.scores, t.exact, t.projected.output
    # rotated query and key, value; copies of the latter two for each query head
    inputs = t.projected.projected + t.repeats
    of_scores = t.query_copy + t.key_copy
    beside_scores = inputs + (of_scores if is_training else 0)
    beside_context = inputs + (of_scores + t.value_copy + exact if is_training else 0)
    return max(
        rotation_bytes(t.projected),
        inputs + of_scores + scores,
        # scores, scaled, masked, or turned into probabilities: old and new
        beside_scores + 2 * scores,
        # masked scores, the same in float32, probabilities, the same in the type of the scores
        beside_scores + scores + exact + max(exact, scores) if exact else 0,
        # probabilities; the context, and then its transpose
        beside_context + scores + output + (output if is_training else max(t.value_copy, output)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensors:
    """Bytes of one attention's tensors.

    Attributes:
        projected: queries, keys, values and their weights.
        repeated: keys, or values, once for each query head, or their gradient.
        repeats: copies of keys and values for each query head; 0 where views serve.
        query_copy: of the queries in the layout that `bmm` needs; 0 where a view serves.
        key_copy: as `query_copy`, of the keys.
        value_copy: as `query_copy`, of the values.
        scores: one tensor of scores.
        exact: the same in float32; 0 if it is in that type already.
    """

    projected: Projected
    repeated: int
    repeats: int
    query_copy: int
    key_copy: int
    value_copy: int
    scores: int
    exact: int

    @classmethod
    def of(cls, workload: Workload) -> _Tensors:
        """Sizes for any layer of the workload."""
        projected = Projected.of(workload, has_bias=False)
        # `matmul` folds batch and heads into one dimension; with several of both it has to copy.
        copies = workload.batch_size > 1 and workload.num_heads > 1
        is_repeated = repeats_are_copies(workload)
        # keys of all query heads are as wide as queries
        copy = projected.query if copies and not is_repeated else 0
        numbers = workload.batch_size * workload.num_heads * workload.seq_len**2
        return cls(
            projected=projected,
            repeated=projected.query,
            repeats=2 * projected.query if is_repeated else 0,
            query_copy=projected.query if copies else 0,
            key_copy=copy,
            value_copy=copy,
            scores=numbers * workload.dtype_bytes,
            exact=0 if workload.dtype == "float32" else 4 * numbers,
        )

    @property
    def saved_key(self) -> int:
        """Keys as the product of scores reads them."""
        return self.repeats // 2 or self.key_copy or self.projected.key

    @property
    def saved_value(self) -> int:
        """Values as the product of the context reads them."""
        return self.repeats // 2 or self.value_copy or self.projected.value
