"""Memory of the attention of global tokens to all tokens; `attnprof.nn.global_rows` computes it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from attnprof.core.cuda_attention import HEAD_ALIGNMENT, CudaAttention
from attnprof.core.global_queries import GlobalQueries
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.kernels.builtin._fused import fused_call, fused_memory
from attnprof.kernels.builtin._memory import Projected, activation_bytes
from attnprof.kernels.builtin._multiplied import MultipliedAttention


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalRows:
    """Bytes of the global tokens' attention to all tokens; 0 without global tokens.

    Attributes:
        forward: peak while it is computed.
        output: its output, `(batch, global tokens, output width)`, or the gradient of that.
        held: the output while the other tokens attend, unless it is saved anyway.
        saved: what it leaves for the backward pass.
        backward: peak while its gradients are computed, beside the gradients of the other
            projections' weights and their contribution to the input's.
    """

    forward: int = 0
    output: int = 0
    held: int = 0
    saved: int = 0
    backward: int = 0

    @classmethod
    def of(cls, workload: Workload, layer: AttentionPattern) -> GlobalRows:
        """Sizes for one layer: the projections absorbed where that multiplies less."""
        queries = GlobalQueries.of(workload, layer)
        if queries.num_globals == 0:
            return cls()
        rows = _RowSizes.of(workload, queries.num_globals)
        if queries.is_absorbed:
            return cls._absorbed(workload, rows)
        return cls._projected(workload, rows)

    @classmethod
    def _projected(cls, workload: Workload, rows: _RowSizes) -> GlobalRows:
        """Keys and values of all tokens projected, and torch's attention."""
        sizes = Projected.of(workload)
        call = fused_call(workload, rows.folded, workload.seq_len)
        call = replace(call, heads=workload.kv_heads)
        if workload.device == "cuda" and call.kernel == "math":
            attention = cls._multiplied(workload, rows, sizes, call)
        else:
            attention = cls._fused(workload, rows, sizes, call)
        of_keys = sizes.key + sizes.value
        return replace(
            attention,
            output=rows.outputs,
            backward=max(
                attention.backward,
                rows.inputs + 2 * rows.queries + of_keys + sizes.hidden + sizes.value_weight,
                rows.inputs + rows.queries + 2 * sizes.hidden + sizes.weights - sizes.query_weight,
                rows.inputs + sizes.hidden + sizes.weights,
            ),
        )

    @classmethod
    def _fused(
        cls, workload: Workload, rows: _RowSizes, sizes: Projected, call: CudaAttention
    ) -> GlobalRows:
        """Fused attention; FlashAttention's heads are padded to aligned ones on CUDA."""
        tensors = rows.queries + rows.outputs + sizes.key + sizes.value
        padded = 0
        if workload.device == "cuda" and call.kernel == "flash":
            aligned = call.head_dim + -call.head_dim % HEAD_ALIGNMENT
            padded = tensors * aligned // call.head_dim - tensors
            call = replace(call, head_dim=aligned, value_dim=aligned)
        fused = fused_memory(workload, call)
        inputs = rows.inputs if workload.mode == "training" else 0
        saved = inputs + tensors + padded + fused.saved
        # Beside padded copies, the originals.
        originals = tensors - rows.outputs if padded else 0
        # The gradient of the output is copied to another layout.
        copied = rows.outputs if workload.kv_heads > 1 else 0
        return cls(
            forward=saved + originals + rows.folded_queries + fused.forward - fused.saved,
            held=rows.unfolded_outputs,
            saved=saved,
            backward=saved + tensors + padded + copied + fused.backward,
        )

    @classmethod
    def _multiplied(
        cls, workload: Workload, rows: _RowSizes, sizes: Projected, call: CudaAttention
    ) -> GlobalRows:
        """Attention as products of matrices, where torch fuses none."""
        attention = MultipliedAttention.of(call)
        is_training = workload.mode == "training"
        inputs = rows.inputs if is_training else 0
        # Sequences and heads of a projection are not evenly spaced; folded queries are.
        copies = workload.batch_size > 1 and workload.kv_heads > 1
        attending = attention.forward_bytes(
            copies_query=copies and workload.num_heads == workload.kv_heads,
            copies_keys=copies,
            keeps=is_training,
        )
        tensors = rows.queries + rows.folded_queries + sizes.key + sizes.value
        return cls(
            forward=inputs + tensors + attending,
            held=rows.outputs,
            saved=inputs + attention.saved if is_training else 0,
            backward=inputs + attention.backward_bytes,
        )

    @classmethod
    def _absorbed(cls, workload: Workload, rows: _RowSizes) -> GlobalRows:
        """Keys and values not projected: queries and contexts are, once for each head."""
        sizes, size = Projected.of(workload), workload.dtype_bytes
        scores = workload.batch_size * workload.num_heads * rows.tokens * workload.seq_len
        wide = rows.inputs * workload.num_heads
        # probabilities in float32 and a copy in a half precision
        weights = scores * max(4, size) + (scores * size if size < 4 else 0)
        if workload.mode == "inference":
            return cls(
                forward=2 * rows.queries
                + max(
                    rows.folded_queries + 2 * wide,
                    wide + 2 * scores * size,
                    scores * size + weights,
                    scores * size + 2 * wide + rows.outputs,
                ),
                output=rows.outputs,
            )
        saved = rows.inputs + rows.queries + 2 * wide + weights
        if 1 < workload.kv_heads < workload.num_heads and workload.batch_size > 1:
            saved += rows.queries  # by heads of keys, then by sequences
        return cls(
            forward=saved + rows.queries + rows.outputs + scores * size,
            output=rows.outputs,
            held=rows.outputs,
            saved=saved,
            backward=max(
                sizes.hidden
                + sizes.value_weight
                + saved
                + 2 * rows.queries
                + 2 * rows.outputs
                + wide
                + scores * size,
                sizes.hidden + sizes.weights + rows.inputs + rows.queries,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _RowSizes:
    """Bytes of the rows of global tokens.

    Attributes:
        tokens: the global tokens of a sequence.
        inputs: their hidden states.
        queries: their queries.
        outputs: their outputs.
        folded: queries of one head of keys, those of all query heads that share it.
        folded_queries: the queries, if they are copied to be folded.
        unfolded_outputs: the outputs, if they are copied to be unfolded.
    """

    tokens: int
    inputs: int
    queries: int
    outputs: int
    folded: int
    folded_queries: int
    unfolded_outputs: int

    @classmethod
    def of(cls, workload: Workload, tokens: int) -> _RowSizes:
        """Sizes for that many global tokens of each sequence."""
        queries = activation_bytes(workload, tokens, workload.query_width)
        sharing = workload.num_heads // workload.kv_heads
        outputs = activation_bytes(workload, tokens, workload.output_width)
        return cls(
            tokens=tokens,
            inputs=activation_bytes(workload, tokens),
            queries=queries,
            outputs=outputs,
            folded=tokens * sharing,
            folded_queries=queries if sharing > 1 and tokens > 1 else 0,
            unfolded_outputs=outputs if sharing > 1 and workload.kv_heads > 1 else 0,
        )
