"""Attention by its definition: row by row in float64, under the enumerated mask of a pattern.

It shares no code with any kernel. Of a long sequence it computes some queries, against all their
keys, a block of keys at a time: time grows linearly with the length, memory does not grow.

Besides the exact output it computes a rounded one, with queries, keys, values, scores, weights and
output rounded to a dtype. `attnprof.nn.checking.tolerance` derives the tolerance from the
difference of the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from attnprof.core.pattern import AttentionPattern

KEYS_PER_BLOCK = 1024

_MASKED_SCORE = -1e300
"""Below all scores, and finite, so that the difference of two of them is 0 and not NaN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradients:
    """Gradients of `(cotangent * output).sum()`, each with one row for each query head.

    Attributes:
        query: of the queries, `(heads, positions, head_dim)`.
        key: of the keys, of that shape.
        value: of the values, `(heads, positions, value_dim)`.
        spreads: for query, key and value, the sum of the squared norms of the summands of each
            gradient vector, `(heads, positions)`. It measures how independent errors of the
            summands add up, even if the summands cancel.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    spreads: tuple[Tensor, Tensor, Tensor]


class Source(Protocol):
    """Queries, keys and values of one sequence, computed from tensors called its leaves."""

    def queries(self, positions: Tensor) -> Tensor:
        """Float64 `(heads, positions, head_dim)`."""
        ...

    def keys(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of each query head, float64 `(heads, positions, width)`."""
        ...

    def of_leaves(
        self, gradients: Gradients, positions: Sequence[int], chosen: Sequence[int]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Gradients of the leaves at some positions, and their spreads, by name.

        They are `(..., positions, width)` and `(..., positions)`.

        Args:
            gradients: of keys and values at all positions, and of queries at the `chosen` ones.
            positions: in the sequence.
            chosen: indices into the positions.
        """
        ...


@dataclass(frozen=True, slots=True)
class Rounding:
    """Rounds to a dtype that a kernel may store intermediate results in; exact if it is None."""

    dtype: torch.dtype | None = None

    def __call__(self, tensor: Tensor) -> Tensor:
        """The rounded values, in float64."""
        return tensor if self.dtype is None else tensor.to(self.dtype).double()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attended:
    """The attention of some queries.

    Attributes:
        output: `(heads, rows, value_dim)`.
        spread: square root of the sum of squared weights times squared norms of values,
            `(heads, rows)`: how independent errors of single weights and values add up.
        gradients: of the queries, and of keys and values at the requested positions; None without
            a cotangent.
    """

    output: Tensor
    spread: Tensor
    gradients: Gradients | None = None


def attend(
    source: Source,
    pattern: AttentionPattern,
    seq_len: int,
    rows: Sequence[int],
    *,
    scale: float,
    roundings: Sequence[Rounding],
    cotangent: Tensor | None = None,
    gradients_at: Sequence[int] = (),
) -> list[Attended]:
    """The attention of some queries, once for each rounding.

    Args:
        source: queries, keys and values.
        pattern: which keys a query attends to.
        seq_len: tokens.
        rows: positions of the queries.
        scale: factor of the scores.
        roundings: of intermediate results.
        cotangent: gradient of the output, `(heads, rows, value_dim)`; None for no gradients.
        gradients_at: positions of the keys and values whose gradients are computed.
    """
    device = source.queries(torch.tensor(rows[:1])).device
    positions = torch.tensor(rows, device=device)
    query = source.queries(positions)
    value_dim = source.keys(positions[:1])[1].shape[2]
    softmaxes = [_Softmax(rounding, query, value_dim, scale, cotangent) for rounding in roundings]
    query_positions = positions.cpu().numpy()
    for start in range(0, seq_len, KEYS_PER_BLOCK):
        keys = torch.arange(start, min(start + KEYS_PER_BLOCK, seq_len))
        mask = torch.from_numpy(pattern.mask_at(seq_len, query_positions, keys.numpy()))
        some_rows, some_keys = (
            mask.any(2).any(0).nonzero()[:, 0],
            mask.any(1).any(0).nonzero()[:, 0],
        )
        if len(some_keys) == 0:
            continue
        mask = mask[:, some_rows][:, :, some_keys].to(device)
        key, value = source.keys(keys[some_keys].to(device))
        for softmax in softmaxes:
            softmax.add(some_rows.to(device), key, value, mask)
    if cotangent is None:
        return [softmax.attended() for softmax in softmaxes]
    at = torch.tensor(gradients_at)
    mask = torch.from_numpy(pattern.mask_at(seq_len, query_positions, at.numpy())).to(device)
    key, value = source.keys(at.to(device))
    return [softmax.attended(key, value, mask) for softmax in softmaxes]


class _Softmax:
    """Softmax attention of some rows, accumulated over blocks of keys.

    With p the weights, v the values, c the cotangent and o the output, the gradient of a score is
    p (c v - c o), and the gradient of a value is the sum of p c over the queries. The names below
    call c v of a query and a key "steer", and keys weighted by it "steered".
    """

    def __init__(
        self,
        rounding: Rounding,
        query: Tensor,
        value_dim: int,
        scale: float,
        cotangent: Tensor | None,
    ) -> None:
        self._rounding, self._scale, self._cotangent = rounding, scale, cotangent
        self._query = rounding(query)
        self._highest = query.new_full(query.shape[:2], _MASKED_SCORE)
        self._total = query.new_zeros(query.shape[:2])
        self._squares = query.new_zeros(query.shape[:2])
        self._output = query.new_zeros((*query.shape[:2], value_dim))
        self._keys = torch.zeros_like(query)
        self._steered_keys = torch.zeros_like(query)
        self._key_squares = torch.zeros_like(self._total)
        self._steered_squares = torch.zeros_like(self._total)

    def add(self, rows: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> None:
        """Add a block of keys for some of the rows."""
        key, value = self._rounding(key), self._rounding(value)
        scores = self._scores(self._query[:, rows], key).masked_fill(~mask, _MASKED_SCORE)
        highest = torch.maximum(self._highest[:, rows], scores.amax(-1))
        decay = (self._highest[:, rows] - highest).exp()
        weights = self._rounding((scores - highest.unsqueeze(-1)).exp() * mask)
        sums = (
            (self._total, decay, weights.sum(-1)),
            (self._squares, decay**2, (weights**2 @ value.square().sum(-1, keepdim=True))[..., 0]),
            (self._output, decay.unsqueeze(-1), weights @ value),
        )
        if self._cotangent is not None:
            steer = self._rounding(self._cotangent[:, rows] @ value.transpose(-1, -2))
            key_squares = key.square().sum(-1, keepdim=True)
            steered = weights**2 * self._steer_squares(self._cotangent[:, rows], steer, value)
            sums += (
                (self._key_squares, decay**2, (weights**2 @ key_squares)[..., 0]),
                (self._steered_squares, decay**2, (steered @ key_squares)[..., 0]),
                (self._keys, decay.unsqueeze(-1), weights @ key),
                (self._steered_keys, decay.unsqueeze(-1), self._rounding(weights * steer) @ key),
            )
        for total, factor, summand in sums:
            total[:, rows] = total[:, rows] * factor + summand
        self._highest[:, rows] = highest

    def attended(
        self, key: Tensor | None = None, value: Tensor | None = None, mask: Tensor | None = None
    ) -> Attended:
        """The result; with keys, values and their mask, also the gradients at these."""
        total = self._total.unsqueeze(-1)
        output = self._rounding(self._output / total)
        spread = self._squares.sqrt() / self._total
        if key is None or value is None or mask is None or self._cotangent is None:
            return Attended(output=output, spread=spread)
        key, value = self._rounding(key), self._rounding(value)
        scores = self._scores(self._query, key) - self._highest.unsqueeze(-1)
        weights = self._rounding(scores.masked_fill(~mask, _MASKED_SCORE).exp() / total)
        mean_steer = (self._cotangent * output).sum(-1, keepdim=True)
        steer = self._cotangent @ value.transpose(-1, -2) - mean_steer
        of_scores = self._rounding(weights * steer)
        of_query = (self._steered_keys - mean_steer * self._keys) / total
        of_key = of_scores.transpose(-1, -2) @ self._query
        gradients = Gradients(
            spreads=self._spreads(weights, steer + mean_steer, value, output),
            query=self._rounding(self._scale * of_query),
            key=self._rounding(self._scale * of_key),
            value=self._rounding(weights.transpose(-1, -2) @ self._cotangent),
        )
        return Attended(output=output, spread=spread, gradients=gradients)

    def _spreads(
        self, weights: Tensor, steer: Tensor, value: Tensor, output: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`Gradients.spreads`; an error of c o is the same for all keys of a query, and adds up."""
        assert self._cotangent is not None
        squares = self._cotangent.square().sum(-1)
        mean_squares = squares * output.square().sum(-1)
        keys = self._key_squares + self._keys.square().sum(-1)
        of_query = (self._steered_squares + mean_squares * keys) / self._total**2
        steered = self._steer_squares(self._cotangent, steer, value) + mean_squares.unsqueeze(-1)
        of_key = (weights**2 * steered).transpose(-1, -2) @ self._query.square().sum(-1, True)
        of_value = (weights**2).transpose(-1, -2) @ squares.unsqueeze(-1)
        return self._scale**2 * of_query, self._scale**2 * of_key[..., 0], of_value[..., 0]

    def _steer_squares(self, cotangent: Tensor, steer: Tensor, value: Tensor) -> Tensor:
        """Squares of c v plus the mean squares of its summands, `(heads, rows, keys)`."""
        norms = cotangent.square().sum(-1, True) * value.square().sum(-1).unsqueeze(-2)
        return steer.square() + norms / value.shape[-1]

    def _scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Rounded scores `(heads, rows, keys)`."""
        return self._rounding(self._scale * (query @ key.transpose(-1, -2)))
