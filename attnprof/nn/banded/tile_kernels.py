"""The operators that compute attention inside tiles, and the choice between them.

Queries have the shape `(heads, tiles, tokens, head_dim)`, keys `(kv_heads, tiles, tokens,
head_dim)` and values `(kv_heads, tiles, tokens, value_dim)`; any strides, the last one 1.
Neighbouring query heads share a head of keys. The log-sum-exp of the scores, `(heads, tiles,
queries)`, serves to merge attention to several sets of keys; it is `EMPTY_LOG_SUM_EXP` if a query
attends to no key. The backward functions take the merged output and log-sum-exp, and are then exact
for one softmax over all sets. The gradient of a query whose log-sum-exp is +inf is 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from attnprof.nn.banded.tiling import (
    Sides,
    TileSizes,
    fused_backward_tile_sizes,
    fused_forward_tile_sizes,
    matmul_tile_sizes,
)

_aten = torch.ops.aten
_LOG_OF_2 = math.log(2.0)

EMPTY_LOG_SUM_EXP = -1e30
"""Log-sum-exp of no scores: finite, so that the difference of two of them is 0 and not NaN."""


@dataclass(frozen=True, slots=True)
class Bias:
    """Added to the scores of a tile: 0, or -inf where a query does not attend to a key.

    Attributes:
        columns: (first key, values) of each range of keys where it is not all 0; the values are
            `(1 or tiles, queries, keys of the range)`.
        every_query_has_a_key: whether every query attends to a key.
    """

    columns: tuple[tuple[int, Tensor], ...] = ()
    every_query_has_a_key: bool = True

    def add_to(self, scores: Tensor, sharing: int = 1) -> None:
        """Add it to scores `(tiles, sharing * queries, keys)`, in place.

        Args:
            scores: with further dimensions in front, or none.
            sharing: the query heads whose queries follow one another.
        """
        of_heads = scores.unflatten(-2, (sharing, -1))
        for start, values in self.columns:
            of_heads[..., start : start + values.shape[-1]].add_(values.unsqueeze(-3))

    def materialize(self, query: Tensor, key: Tensor) -> Tensor | None:
        """A tensor `(1, 1 or tiles, queries, keys)`; None if it is 0 everywhere."""
        if not self.columns:
            return None
        tiles = max(len(values) for _, values in self.columns)
        bias = query.new_zeros((tiles, query.shape[2], key.shape[2]))
        self.add_to(bias)
        return bias.unsqueeze(0)


class TileOperator(Protocol):
    """Attention inside tiles, forward and backward."""

    def forward_tile_sizes(self, sides: Sides) -> TileSizes:
        """The tile sizes for `forward`."""
        ...

    def backward_tile_sizes(self, sides: Sides) -> TileSizes:
        """The tile sizes for `backward`."""
        ...

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Bias
    ) -> tuple[Tensor, Tensor]:
        """The output and the log-sum-exp: 0 and `EMPTY_LOG_SUM_EXP` for a query without a key."""
        ...

    def backward(
        self,
        grad_output: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        output: Tensor,
        log_sum_exp: Tensor,
        bias: Bias,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of query, key and value; the next call may overwrite them."""
        ...


class FusedTiles:
    """torch's fused attention on CPU; scores stay in the caches of each core.

    Heads are passed as the batch and tiles as the heads, so that a core computes consecutive tiles
    of one head, which share most of their keys. Where query heads share keys, tiles are the batch.
    """

    def __init__(self, scale: float, dtype: torch.dtype) -> None:
        self._scale = scale
        self._dtype_bytes = dtype.itemsize

    def forward_tile_sizes(self, sides: Sides) -> TileSizes:
        """The tile sizes for `forward`, the same for all windows."""
        return fused_forward_tile_sizes(self._dtype_bytes)

    def backward_tile_sizes(self, sides: Sides) -> TileSizes:
        """The tile sizes for `backward`."""
        return fused_backward_tile_sizes(self._dtype_bytes, sides)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Bias
    ) -> tuple[Tensor, Tensor]:
        """Output and log-sum-exp by `_scaled_dot_product_flash_attention_for_cpu`."""
        is_shared = len(query) > len(key)
        mask = bias.materialize(query, key)
        query, key, value, mask = _transposed(is_shared, query, key, value, mask)
        output, log_sum_exp = _aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, attn_mask=mask, scale=self._scale
        )
        if mask is not None and not bias.every_query_has_a_key:
            log_sum_exp.masked_fill_(mask.amax(-1).isneginf(), EMPTY_LOG_SUM_EXP)
        output, log_sum_exp = _transposed(is_shared, output, log_sum_exp)
        return output, log_sum_exp

    def backward(
        self,
        grad_output: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        output: Tensor,
        log_sum_exp: Tensor,
        bias: Bias,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients by `_scaled_dot_product_flash_attention_for_cpu_backward`."""
        is_shared = len(query) > len(key)
        inputs = (grad_output, query, key, value, output, log_sum_exp)
        mask = bias.materialize(query, key)
        *inputs, mask = _transposed(is_shared, *inputs, mask)
        gradients = _aten._scaled_dot_product_flash_attention_for_cpu_backward(
            *inputs, 0.0, False, attn_mask=mask, scale=self._scale
        )
        of_query, of_key, of_value = _transposed(is_shared, *gradients)
        return of_query, of_key, of_value


def _transposed(is_transposed: bool, *tensors: Any) -> tuple[Any, ...]:
    """Tensors, or None, with the first two dimensions exchanged, or as they are."""
    if not is_transposed:
        return tensors
    return tuple(tensor if tensor is None else tensor.transpose(0, 1) for tensor in tensors)


class MatmulTiles:
    """Matrix products and a softmax, in pieces whose scores stay in the caches.

    Any device, any dtype, and dropout of the weights, which draws from torch's random state:
    `backward` draws the same numbers again if it begins with the state that `forward` began with.
    """

    def __init__(self, scale: float, dropout_p: float, like: Tensor) -> None:
        self._scale = scale
        self._dropout_p = dropout_p
        self._scratch = Scratch(like)
        self._on_cpu = like.device.type == "cpu"

    def forward_tile_sizes(self, sides: Sides) -> TileSizes:
        """The tile sizes for `forward`."""
        return matmul_tile_sizes(sides, self._on_cpu)

    def backward_tile_sizes(self, sides: Sides) -> TileSizes:
        """The tile sizes for `backward`: those of `forward`, so that dropout draws the same."""
        return matmul_tile_sizes(sides, self._on_cpu)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Bias
    ) -> tuple[Tensor, Tensor]:
        """Output and log-sum-exp by two products and a softmax."""
        kv_heads, sharing = len(key), len(query) // len(key)
        query = _folded(query, kv_heads)
        output = query.new_empty((*query.shape[:3], value.shape[3]))
        log_sum_exp = query.new_empty(query.shape[:3], dtype=accumulate_type(query))
        for q, k, v, out, sums in self._pieces(query, key, value, output, log_sum_exp):
            weights = self._scores(q, k, bias, sharing)
            highest = weights.amax(-1, keepdim=True).clamp_(min=EMPTY_LOG_SUM_EXP)
            weights.sub_(highest).exp2_()
            total = weights.sum(-1, keepdim=True).clamp_(min=torch.finfo(weights.dtype).tiny)
            torch.mul(highest.add_(total.log2()).squeeze(-1), _LOG_OF_2, out=sums)
            if self._dropout_p:
                weights.mul_(self._keep_factors(weights))
            attended = self._product("attended", weights.to(v.dtype), v)
            out.copy_(attended.mul_(total.reciprocal_()))
        return _unfolded(output, sharing), _unfolded(log_sum_exp, sharing)

    def backward(
        self,
        grad_output: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        output: Tensor,
        log_sum_exp: Tensor,
        bias: Bias,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients by five products; weights are computed again from the log-sum-exp."""
        kv_heads, sharing = len(key), len(query) // len(key)
        grad_output, query, output, log_sum_exp = (
            _folded(tensor, kv_heads) for tensor in (grad_output, query, output, log_sum_exp)
        )
        grad_query, grad_key, grad_value = (
            self._scratch.tensor(f"gradient of {name}", tensor.shape, tensor.dtype)
            for name, tensor in (("query", query), ("key", key), ("value", value))
        )
        inputs = (grad_output, query, key, value, output, log_sum_exp)
        for g, q, k, v, out, sums, grad_q, grad_k, grad_v in self._pieces(
            *inputs, grad_query, grad_key, grad_value
        ):
            weights = self._scores(q, k, bias, sharing)
            weights.sub_((sums / _LOG_OF_2).unsqueeze(-1)).exp2_()
            grad_scores = self._product("grad_scores", g, v.transpose(-1, -2)).to(weights.dtype)
            dropped = weights
            if self._dropout_p:
                kept = self._keep_factors(weights)
                dropped = weights * kept
                grad_scores.mul_(kept)
            grad_v.copy_(self._product("keys", dropped.to(g.dtype).transpose(-1, -2), g))
            # The derivative of softmax subtracts the sum of all weights times their gradients.
            mean_gradient = (g.to(weights.dtype) * out.to(weights.dtype)).sum(-1, keepdim=True)
            grad_scores = grad_scores.sub_(mean_gradient).mul_(weights).to(q.dtype)
            torch.mul(self._product("queries", grad_scores, k), self._scale, out=grad_q)
            grad_k.copy_(self._product("keys", grad_scores.transpose(-1, -2), q).mul_(self._scale))
        return _unfolded(grad_query, sharing), grad_key, grad_value

    def _scores(self, query: Tensor, key: Tensor, bias: Bias, sharing: int) -> Tensor:
        """Scores in units of log 2, for `exp2`: `exp` is slow when its result is tiny."""
        scaled = self._scratch.tensor("scaled", query.shape, query.dtype)
        torch.mul(query, self._scale / _LOG_OF_2, out=scaled)
        scores = self._product("scores", scaled, key.transpose(-1, -2)).to(accumulate_type(query))
        bias.add_to(scores, sharing)
        return scores

    def _product(self, name: str, left: Tensor, right: Tensor) -> Tensor:
        """A batched matrix product, on CPU in the scratch buffer of that name."""
        if not self._on_cpu:
            return left @ right
        shape = (left.shape[0], left.shape[1], right.shape[2])
        return torch.bmm(left, right, out=self._scratch.tensor(name, shape, left.dtype))

    def _pieces(self, *tensors: Tensor) -> Iterator[Sequence[Tensor]]:
        """Pieces of the tensors that are computed at one time: everything on a GPU.

        On a CPU pieces have three dimensions, so that batched products do not copy keys: one head
        at a time, since its tiles share keys; or all heads, if there is one tile.
        """
        heads, tiles = tensors[0].shape[:2]
        if not self._on_cpu:
            yield tensors
        elif tiles == 1:
            yield [tensor[:, 0] for tensor in tensors]
        else:
            for head in range(heads):
                yield [tensor[head] for tensor in tensors]

    def _keep_factors(self, weights: Tensor) -> Tensor:
        """Random factors: 0 with probability `dropout_p`, else 1 / (1 - `dropout_p`)."""
        kept = torch.empty_like(weights).bernoulli_(1.0 - self._dropout_p)
        return kept.div_(1.0 - self._dropout_p) if self._dropout_p < 1.0 else kept


def _folded(tensor: Tensor, kv_heads: int) -> Tensor:
    """The queries of heads that share keys as those of one head, in tiles that are as much longer.

    `(kv_heads, tiles, sharing * queries, ...)` of `(kv_heads * sharing, tiles, queries, ...)`; the
    tensor itself if no heads share keys.
    """
    if len(tensor) == kv_heads:
        return tensor
    return tensor.unflatten(0, (kv_heads, -1)).transpose(1, 2).flatten(2, 3)


def _unfolded(tensor: Tensor, sharing: int) -> Tensor:
    """The inverse of `_folded`."""
    if sharing == 1:
        return tensor
    return tensor.unflatten(2, (sharing, -1)).transpose(1, 2).flatten(0, 1)


def accumulate_type(tensor: Tensor) -> torch.dtype:
    """The dtype of sums: float32 for the half precisions, else the tensor's dtype."""
    return torch.float32 if tensor.dtype.itemsize < 4 else tensor.dtype


def is_fused(query: Tensor, value: Tensor, dropout_p: float) -> bool:
    """Whether torch's fused attention on CPU computes tiles.

    It has no dropout, and values must be as wide as keys. Meta tensors count as those on CPU.
    """
    is_on_cpu = query.device.type in ("cpu", "meta")
    return is_on_cpu and dropout_p == 0.0 and query.shape[-1] == value.shape[-1]


def operator_for(query: Tensor, value: Tensor, dropout_p: float, scale: float) -> TileOperator:
    """The fastest operator that supports the case."""
    if is_fused(query, value, dropout_p):
        return FusedTiles(scale, query.dtype)
    return MatmulTiles(scale, dropout_p, query)


class Scratch:
    """Reusable buffers by name and dtype, each as large as the largest tensor requested."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._buffers: dict[tuple[str, torch.dtype], Tensor] = {}

    def tensor(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """An uninitialised contiguous tensor; the buffer's previous content is lost."""
        size = math.prod(shape)
        buffer = self._buffers.get((name, dtype))
        if buffer is None or buffer.numel() < size:
            buffer = self._like.new_empty(size, dtype=dtype)
            self._buffers[name, dtype] = buffer
        return buffer[:size].view(*shape)
