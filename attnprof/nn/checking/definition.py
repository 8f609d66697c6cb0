"""Attention by its definition: row by row in float64, under the enumerated mask of a pattern.

It shares no code with any kernel. Of a long sequence it computes some queries, against all their
keys, a block of keys at a time: cost grows linearly with the length, memory not at all.

Beside the exact numbers it computes those that rounding leaves: the same with queries, keys,
values, scores, weights and output rounded to a dtype. `attnprof.nn.checking.tolerance` says how far
a kernel may be off by the difference of the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from attnprof.core.pattern import AttentionPattern

KEYS_AT_A_TIME = 1024

_NOTHING = -1e300
"""Below all scores, and finite: the difference of two of them is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradients:
    """Gradients of the sum of all `cotangent * output`, each `(heads, positions, head_dim)`.

    Attributes:
        query: of the queries.
        key: of the keys.
        value: of the values.
        spreads: of query, key and value, the sums of the squared norms of all that adds up to a
            vector, `(heads, positions)`: how independent errors of single summands add up, even
            where these cancel.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    spreads: tuple[Tensor, Tensor, Tensor]


class Source(Protocol):
    """Queries, keys and values of one sequence, each from some tensors, its leaves."""

    def queries(self, positions: Tensor) -> Tensor:
        """Float64 `(heads, positions, head_dim)`."""
        ...

    def keys(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, float64 `(heads, positions, head_dim)` each."""
        ...

    def of_leaves(
        self, gradients: Gradients, chosen: Sequence[int]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Gradients of the leaves at some positions, and their spreads, by their names.

        They are `(..., positions, numbers)` and `(..., positions)`.

        Args:
            gradients: of keys and values at the positions, and of queries at those `chosen` of
                them.
            chosen: indices into the positions.
        """
        ...


@dataclass(frozen=True, slots=True)
class Rounding:
    """Rounds to a dtype what a kernel may keep in it; exact where there is none."""

    dtype: torch.dtype | None = None

    def __call__(self, numbers: Tensor) -> Tensor:
        """The numbers, in float64 again."""
        return numbers if self.dtype is None else numbers.to(self.dtype).double()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attended:
    """What some queries attend to.

    Attributes:
        output: `(heads, rows, head_dim)`.
        spread: square root of the sum of the squared weights times squared norms of values,
            `(heads, rows)`: how independent errors of single weights and values add up.
        gradients: of the queries, and of keys and values at the positions that were asked for;
            None where no cotangent was given.
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
    """What queries attend to, once for each rounding.

    Args:
        source: queries, keys and values.
        pattern: which keys a query attends to.
        seq_len: tokens.
        rows: positions of the queries.
        scale: factor of the scores.
        roundings: of intermediate results.
        cotangent: what the output is multiplied with for its gradients, as the output is shaped.
        gradients_at: positions of the keys and values whose gradients are wanted.
    """
    device = source.queries(torch.tensor(rows[:1])).device
    positions = torch.tensor(rows, device=device)
    query = source.queries(positions)
    softmaxes = [_Softmax(rounding, query, scale, cotangent) for rounding in roundings]
    numbers = positions.cpu().numpy()
    for start in range(0, seq_len, KEYS_AT_A_TIME):
        keys = torch.arange(start, min(start + KEYS_AT_A_TIME, seq_len))
        mask = torch.from_numpy(pattern.mask_at(seq_len, numbers, keys.numpy()))
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
    mask = torch.from_numpy(pattern.mask_at(seq_len, numbers, at.numpy())).to(device)
    key, value = source.keys(at.to(device))
    return [softmax.attended(key, value, mask) for softmax in softmaxes]


class _Softmax:
    """Softmax of some rows over keys that come block by block.

    With s the scores, p the weights, c the cotangent and o the output, the gradient of a score is
    p (c v - c o), times the scale that of the query and key under it; of a value it is p c.
    """

    def __init__(
        self, rounding: Rounding, query: Tensor, scale: float, cotangent: Tensor | None
    ) -> None:
        self._rounding, self._scale, self._cotangent = rounding, scale, cotangent
        self._query = rounding(query)
        self._highest = query.new_full(query.shape[:2], _NOTHING)
        self._total = query.new_zeros(query.shape[:2])
        self._squares = query.new_zeros(query.shape[:2])
        self._output = torch.zeros_like(query)
        self._keys = torch.zeros_like(query)
        self._steered_keys = torch.zeros_like(query)
        self._key_squares = torch.zeros_like(self._total)
        self._steered_squares = torch.zeros_like(self._total)

    def add(self, rows: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> None:
        """Have some of the rows attend to further keys."""
        key, value = self._rounding(key), self._rounding(value)
        scores = self._scores(self._query[:, rows], key).masked_fill(~mask, _NOTHING)
        highest = torch.maximum(self._highest[:, rows], scores.amax(-1))
        kept = (self._highest[:, rows] - highest).exp()
        weights = self._rounding((scores - highest.unsqueeze(-1)).exp() * mask)
        sums = (
            (self._total, kept, weights.sum(-1)),
            (self._squares, kept**2, (weights**2 @ value.square().sum(-1, keepdim=True))[..., 0]),
            (self._output, kept.unsqueeze(-1), weights @ value),
        )
        if self._cotangent is not None:
            steer = self._rounding(self._cotangent[:, rows] @ value.transpose(-1, -2))
            key_squares = key.square().sum(-1, keepdim=True)
            steered = weights**2 * self._steer_squares(self._cotangent[:, rows], steer, value)
            sums += (
                (self._key_squares, kept**2, (weights**2 @ key_squares)[..., 0]),
                (self._steered_squares, kept**2, (steered @ key_squares)[..., 0]),
                (self._keys, kept.unsqueeze(-1), weights @ key),
                (self._steered_keys, kept.unsqueeze(-1), self._rounding(weights * steer) @ key),
            )
        for total, factor, more in sums:
            total[:, rows] = total[:, rows] * factor + more
        self._highest[:, rows] = highest

    def attended(
        self, key: Tensor | None = None, value: Tensor | None = None, mask: Tensor | None = None
    ) -> Attended:
        """The result; with some keys and values, gradients too."""
        total = self._total.unsqueeze(-1)
        output = self._rounding(self._output / total)
        spread = self._squares.sqrt() / self._total
        if key is None or value is None or mask is None or self._cotangent is None:
            return Attended(output=output, spread=spread)
        key, value = self._rounding(key), self._rounding(value)
        scores = self._scores(self._query, key) - self._highest.unsqueeze(-1)
        weights = self._rounding(scores.masked_fill(~mask, _NOTHING).exp() / total)
        taken_off = (self._cotangent * output).sum(-1, keepdim=True)
        steer = self._cotangent @ value.transpose(-1, -2) - taken_off
        of_scores = self._rounding(weights * steer)
        of_query = (self._steered_keys - taken_off * self._keys) / total
        of_key = of_scores.transpose(-1, -2) @ self._query
        gradients = Gradients(
            spreads=self._spreads(weights, steer + taken_off, value, output),
            query=self._rounding(self._scale * of_query),
            key=self._rounding(self._scale * of_key),
            value=self._rounding(weights.transpose(-1, -2) @ self._cotangent),
        )
        return Attended(output=output, spread=spread, gradients=gradients)

    def _spreads(
        self, weights: Tensor, steer: Tensor, value: Tensor, output: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `Gradients`; what is taken off is the same for all keys, so its errors add up."""
        assert self._cotangent is not None
        squares = self._cotangent.square().sum(-1)
        taken_off = squares * output.square().sum(-1)
        keys = self._key_squares + self._keys.square().sum(-1)
        of_query = (self._steered_squares + taken_off * keys) / self._total**2
        steered = self._steer_squares(self._cotangent, steer, value) + taken_off.unsqueeze(-1)
        of_key = (weights**2 * steered).transpose(-1, -2) @ self._query.square().sum(-1, True)
        of_value = (weights**2).transpose(-1, -2) @ squares.unsqueeze(-1)
        return self._scale**2 * of_query, self._scale**2 * of_key[..., 0], of_value[..., 0]

    def _steer_squares(self, cotangent: Tensor, steer: Tensor, value: Tensor) -> Tensor:
        """Of c v, and of what its sum has summands of, `(heads, rows, keys)`."""
        norms = cotangent.square().sum(-1, True) * value.square().sum(-1).unsqueeze(-2)
        return steer.square() + norms / value.shape[-1]

    def _scores(self, query: Tensor, key: Tensor) -> Tensor:
        return self._rounding(self._scale * (query @ key.transpose(-1, -2)))
