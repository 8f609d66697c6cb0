"""Memory of torch's attention as products of matrices and a softmax, half precisions in float32.

Source: PyTorch, aten/src/ATen/native/transformers/attention.cpp,
_scaled_dot_product_attention_math.
"""

from __future__ import annotations

from dataclasses import dataclass

from attnprof.core.cuda_attention import CudaAttention
from attnprof.core.workload import DTYPE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class MultipliedAttention:
    """Bytes of the tensors inside one call, in the type in which it computes.

    Attributes:
        query: the queries.
        key: the keys.
        value: the values.
        output: the output.
        weights: the attention weights.
        flags: of which weights are -inf, and in which rows all are: a byte each.
        half: of the weights in half precision; 0 in other types.
    """

    query: int
    key: int
    value: int
    output: int
    weights: int
    flags: int
    half: int

    @classmethod
    def of(cls, call: CudaAttention) -> MultipliedAttention:
        """Sizes of a call whose heads of keys are as many as those of queries."""
        size = DTYPE_BYTES[call.dtype]
        wider, heads = max(4, size), call.batch * call.heads
        rows = heads * call.queries
        pairs = rows * call.keys
        return cls(
            query=wider * rows * call.head_dim,
            key=wider * heads * call.keys * call.head_dim,
            value=wider * heads * call.keys * call.value_dim,
            output=wider * rows * call.value_dim,
            weights=wider * pairs,
            flags=pairs + rows,
            half=size * pairs if size < wider else 0,
        )

    @property
    def saved(self) -> int:
        """Bytes that the backward pass needs."""
        return self.query + self.key + self.value + self.weights

    @property
    def backward_bytes(self) -> int:
        """Peak bytes of the backward pass, what is saved included."""
        return max(
            self.saved + self.output + self.value + self.weights,
            self.saved + 2 * self.weights,
            self.saved + self.query + self.key,
            self.query + 2 * self.key + self.value,
        )

    def forward_bytes(
        self, *, copies_query: bool = False, copies_keys: bool = False, keeps: bool = False
    ) -> int:
        """Peak bytes of the forward pass.

        Args:
            copies_query: whether products copy queries, whose heads are not evenly spaced.
            copies_keys: whether they copy keys and values.
            keeps: whether what the backward pass needs is kept.
        """
        copied_query = self.query if copies_query else 0
        copied_key, copied_value = (self.key, self.value) if copies_keys else (0, 0)
        kept = self.key + copied_query if keeps else 0
        converted = self.query + self.key + self.value if self.half else 0
        attending = max(
            self.key + copied_query + copied_key + self.weights,
            kept + 2 * self.weights + self.flags,
            kept + self.weights + self.half + copied_value + self.output,
        )
        return converted + self.query + attending
