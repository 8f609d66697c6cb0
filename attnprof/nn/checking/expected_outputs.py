"""What sampled queries of an attention should give, and how far a kernel may be off there.

Global tokens attend with projections of their own, so that an attention has two sources: one for
the queries of all other tokens, and one for those of global tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attnprof.core.pattern import AttentionPattern
from attnprof.nn.checking.definition import Gradients, Source, attend
from attnprof.nn.checking.tolerance import Difference, Precision, difference

_Leaves = dict[str, tuple[Tensor, Tensor]]
"""Gradients and their spreads, by the names of leaves."""


@dataclass(frozen=True, slots=True)
class GivenHeads:
    """Queries, keys and values that are at hand, `(heads, seq_len, head_dim)` each.

    `prefix` goes before the names of their gradients, `query`, `key` and `value`.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    prefix: str = ""

    def queries(self, positions: Tensor) -> Tensor:
        """See `Source`."""
        return self.query[:, positions].double()

    def keys(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """See `Source`."""
        return self.key[:, positions].double(), self.value[:, positions].double()

    def of_leaves(
        self, gradients: Gradients, chosen: Sequence[int]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """See `Source`."""
        of_query = torch.zeros_like(gradients.key)
        of_query[:, list(chosen)] = gradients.query
        query_spread, key_spread, value_spread = gradients.spreads
        spread = torch.zeros_like(key_spread)
        spread[:, list(chosen)] = query_spread
        return {
            f"{self.prefix}query": (of_query, spread),
            f"{self.prefix}key": (gradients.key, key_spread),
            f"{self.prefix}value": (gradients.value, value_spread),
        }


class ProjectedHeads:
    """Queries, keys and values as weights make them of hidden states.

    Args:
        hidden_states: `(seq_len, hidden)`.
        weights: of `query`, `key` and `value`, `(hidden, hidden)` with a bias `(hidden)` each.
        num_heads: they divide the projections.
    """

    def __init__(
        self, hidden_states: Tensor, weights: Mapping[str, tuple[Tensor, Tensor]], num_heads: int
    ) -> None:
        self._hidden_states = hidden_states
        self._num_heads = num_heads
        self._weights = {
            name: (weight.double(), bias.double()) for name, (weight, bias) in weights.items()
        }

    def queries(self, positions: Tensor) -> Tensor:
        """See `Source`."""
        return self._projected("query", self._hidden_states[positions].double())

    def keys(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """See `Source`."""
        states = self._hidden_states[positions].double()
        return self._projected("key", states), self._projected("value", states)

    def of_leaves(
        self, gradients: Gradients, chosen: Sequence[int]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """See `Source`."""
        of_query, of_key, of_value = gradients.spreads
        total = self._unprojected("key", gradients.key)
        total += self._unprojected("value", gradients.value)
        total[list(chosen)] += self._unprojected("query", gradients.query)
        spread = self._unprojected_spread("key", of_key)
        spread += self._unprojected_spread("value", of_value)
        spread[list(chosen)] += self._unprojected_spread("query", of_query)
        return {"hidden_states": (total, spread)}

    def _projected(self, name: str, states: Tensor) -> Tensor:
        weight, bias = self._weights[name]
        projected = states @ weight.T + bias
        return projected.unflatten(-1, (self._num_heads, -1)).transpose(0, 1)

    def _unprojected(self, name: str, gradient: Tensor) -> Tensor:
        return gradient.transpose(0, 1).flatten(1) @ self._weights[name][0]

    def _unprojected_spread(self, name: str, spread: Tensor) -> Tensor:
        """Independent errors of a head's numbers, each multiplied with a row of the weights."""
        of_heads = self._weights[name][0].unflatten(0, (self._num_heads, -1))
        return of_heads.square().sum(-1).mean(-1) @ spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What queries at some rows should give.

    Attributes:
        output: `(heads, rows, head_dim)`.
        tolerance: of its vectors, `(heads, rows)`.
        gradients: of leaves at the same rows, `(..., rows, numbers)`, each with its tolerance
            `(..., rows)`.
    """

    output: Tensor
    tolerance: Tensor
    gradients: Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """An attention of one sequence.

    Attributes:
        pattern: which keys a query attends to.
        seq_len: tokens.
        rows: the queries that are looked at.
        scale: factor of the scores.
        precision: what a kernel can be held to.
    """

    pattern: AttentionPattern
    seq_len: int
    rows: Sequence[int]
    scale: float
    precision: Precision

    def expected(
        self, ordinary: Source, of_globals: Source, cotangent: Tensor | None = None
    ) -> Expected:
        """What its rows should give.

        Args:
            ordinary: of all tokens but global ones.
            of_globals: of global tokens.
            cotangent: what the output is multiplied with for its gradients, `(heads, rows,
                head_dim)`; None for no gradients.
        """
        is_global = [row in self.pattern.global_positions for row in self.rows]
        outputs: list[tuple[list[int], Tensor, Tensor]] = []
        leaves: tuple[_Leaves, _Leaves] = ({}, {})
        for source, kind in ((ordinary, False), (of_globals, True)):
            chosen = [index for index, one in enumerate(is_global) if one == kind]
            if not chosen:
                continue
            exact, rounded = attend(
                source,
                self.pattern,
                self.seq_len,
                [self.rows[index] for index in chosen],
                scale=self.scale,
                roundings=self.precision.roundings,
                cotangent=None if cotangent is None else cotangent[:, chosen],
                gradients_at=self.rows,
            )
            outputs.append((chosen, exact.output, self.precision.of_output(exact, rounded)))
            for total, attended in zip(leaves, (exact, rounded), strict=True):
                if attended.gradients is not None:
                    _add(total, source.of_leaves(attended.gradients, chosen))
        output, tolerance = _in_order(outputs, len(self.rows))
        gradients = {
            name: (numbers, self.precision.of_gradient(numbers, leaves[1][name][0], spread))
            for name, (numbers, spread) in leaves[0].items()
        }
        return Expected(output=output, tolerance=tolerance, gradients=gradients)

    def difference(self, got: Tensor, expected: Expected) -> str:
        """Where an output `(heads, rows, head_dim)` is wrong, in words; empty where it is right."""
        found = difference(got, expected.output, expected.tolerance, self.precision.absolute)
        if found is None:
            return ""
        head, row, _ = found.index
        place = f"position {self.rows[row]}, head {head}"
        return f"output is {self._described(found, place)}"

    def gradient_difference(self, got: Mapping[str, Tensor], expected: Expected) -> str:
        """Where gradients at the rows are wrong, in words; empty where they are right."""
        for name, (numbers, tolerance) in expected.gradients.items():
            found = difference(got[name], numbers, tolerance, self.precision.absolute)
            if found is not None:
                *head, row, _ = found.index
                place = f"position {self.rows[row]}" + "".join(f", head {one}" for one in head)
                return f"gradient of {name} is {self._described(found, place)}"
        return ""

    def _described(self, found: Difference, place: str) -> str:
        return found.described(place, self.precision.dtype)


def _add(total: _Leaves, more: _Leaves) -> None:
    for name, (numbers, spread) in more.items():
        if name in total:
            numbers, spread = total[name][0] + numbers, total[name][1] + spread
        total[name] = (numbers, spread)


def _in_order(
    parts: Sequence[tuple[list[int], Tensor, Tensor]], count: int
) -> tuple[Tensor, Tensor]:
    """The parts of the rows put together."""
    _, output, tolerance = parts[0]
    whole = output.new_zeros((output.shape[0], count, output.shape[2]))
    allowed = tolerance.new_zeros((output.shape[0], count))
    for chosen, numbers, allowance in parts:
        whole[:, chosen], allowed[:, chosen] = numbers, allowance
    return whole, allowed
