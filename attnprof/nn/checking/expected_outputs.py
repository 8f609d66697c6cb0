"""The expected outputs of sampled queries of an attention, and their tolerances.

Global tokens attend with separate projections, so an attention has two sources of queries, keys
and values: one for global tokens, and one for all others.
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
"""(gradient, spread) of each leaf, by name."""


@dataclass(frozen=True, slots=True)
class GivenHeads:
    """Queries, keys and values as tensors, `(heads, seq_len, head_dim)` each.

    Attributes:
        query: the queries.
        key: the keys.
        value: the values.
        prefix: put before the names of their gradients, `query`, `key` and `value`.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    prefix: str = ""

    def queries(self, positions: Tensor) -> Tensor:
        """Float64 `(heads, positions, head_dim)`."""
        return self.query[:, positions].double()

    def keys(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, float64 `(heads, positions, head_dim)` each."""
        return self.key[:, positions].double(), self.value[:, positions].double()

    def of_leaves(
        self, gradients: Gradients, chosen: Sequence[int]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Gradients and spreads of the three tensors; those of other queries are 0."""
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
    """Queries, keys and values as projections of hidden states, the only leaf.

    Args:
        hidden_states: `(seq_len, hidden)`.
        weights: (weight, bias) of `query`, `key` and `value`, `(hidden, hidden)` and `(hidden,)`.
        num_heads: the number of heads that a projection is divided into.
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
        """Float64 `(heads, positions, head_dim)`."""
        return self._project("query", self._hidden_states[positions].double())

    def keys(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, float64 `(heads, positions, head_dim)` each."""
        states = self._hidden_states[positions].double()
        return self._project("key", states), self._project("value", states)

    def of_leaves(
        self, gradients: Gradients, chosen: Sequence[int]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """The gradient of the hidden states, `(positions, hidden)`, and its spread."""
        of_query, of_key, of_value = gradients.spreads
        total = self._gradient_of_input("key", gradients.key)
        total += self._gradient_of_input("value", gradients.value)
        total[list(chosen)] += self._gradient_of_input("query", gradients.query)
        spread = self._spread_of_input("key", of_key)
        spread += self._spread_of_input("value", of_value)
        spread[list(chosen)] += self._spread_of_input("query", of_query)
        return {"hidden_states": (total, spread)}

    def _project(self, name: str, states: Tensor) -> Tensor:
        """`(heads, positions, head_dim)` from `(positions, hidden)`."""
        weight, bias = self._weights[name]
        projected = states @ weight.T + bias
        return projected.unflatten(-1, (self._num_heads, -1)).transpose(0, 1)

    def _gradient_of_input(self, name: str, gradient: Tensor) -> Tensor:
        """`(positions, hidden)` from the gradient of a projection, divided into heads."""
        return gradient.transpose(0, 1).flatten(1) @ self._weights[name][0]

    def _spread_of_input(self, name: str, spread: Tensor) -> Tensor:
        """The spread `(positions,)` from that of a projection `(heads, positions)`.

        Errors of a head's features are taken to be independent; each is multiplied with a row of
        the weights.
        """
        of_heads = self._weights[name][0].unflatten(0, (self._num_heads, -1))
        return of_heads.square().sum(-1).mean(-1) @ spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The expected results at some rows.

    Attributes:
        output: `(heads, rows, head_dim)`.
        tolerance: the largest norm of the error of each vector, `(heads, rows)`.
        gradients: (gradient, tolerance) of each leaf at the same rows, `(..., rows, width)` and
            `(..., rows)`.
    """

    output: Tensor
    tolerance: Tensor
    gradients: Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """The definition of an attention of one sequence.

    Attributes:
        pattern: which keys a query attends to.
        seq_len: tokens.
        rows: positions of the queries that are compared.
        scale: factor of the scores.
        precision: the precision required of a kernel.
    """

    pattern: AttentionPattern
    seq_len: int
    rows: Sequence[int]
    scale: float
    precision: Precision

    def expected(
        self, ordinary: Source, of_globals: Source, cotangent: Tensor | None = None
    ) -> Expected:
        """The expected results at the rows.

        Args:
            ordinary: queries of all tokens that are not global, and the keys and values that they
                attend to.
            of_globals: the same for global tokens.
            cotangent: gradient of the output, `(heads, rows, head_dim)`; None for no gradients.
        """
        is_global = [row in self.pattern.global_positions for row in self.rows]
        outputs: list[tuple[list[int], Tensor, Tensor]] = []
        leaves: tuple[_Leaves, _Leaves] = ({}, {})
        for source, attends_globally in ((ordinary, False), (of_globals, True)):
            chosen = [i for i, flag in enumerate(is_global) if flag == attends_globally]
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
            name: (gradient, self.precision.of_gradient(gradient, leaves[1][name][0], spread))
            for name, (gradient, spread) in leaves[0].items()
        }
        return Expected(output=output, tolerance=tolerance, gradients=gradients)

    def difference(self, actual: Tensor, expected: Expected) -> str:
        """Where an output `(heads, rows, head_dim)` is wrong, as text; empty if it is right."""
        worst = difference(actual, expected.output, expected.tolerance, self.precision.absolute)
        if worst is None:
            return ""
        head, row, _ = worst.index
        return f"output is {self._describe(worst, f'position {self.rows[row]}, head {head}')}"

    def gradient_difference(self, actual: Mapping[str, Tensor], expected: Expected) -> str:
        """Where gradients at the rows are wrong, as text; empty if they are right."""
        for name, (gradient, tolerance) in expected.gradients.items():
            worst = difference(actual[name], gradient, tolerance, self.precision.absolute)
            if worst is not None:
                *heads, row, _ = worst.index
                position = f"position {self.rows[row]}" + "".join(f", head {h}" for h in heads)
                return f"gradient of {name} is {self._describe(worst, position)}"
        return ""

    def _describe(self, worst: Difference, position: str) -> str:
        return worst.described(position, self.precision.dtype)


def _add(total: _Leaves, summand: _Leaves) -> None:
    """Add gradients and spreads to those in `total`."""
    for name, (gradient, spread) in summand.items():
        if name in total:
            gradient, spread = total[name][0] + gradient, total[name][1] + spread
        total[name] = (gradient, spread)


def _in_order(
    parts: Sequence[tuple[list[int], Tensor, Tensor]], count: int
) -> tuple[Tensor, Tensor]:
    """(output, tolerance) of all rows, from parts (indices of rows, output, tolerance)."""
    _, output, tolerance = parts[0]
    all_outputs = output.new_zeros((output.shape[0], count, output.shape[2]))
    all_tolerances = tolerance.new_zeros((output.shape[0], count))
    for chosen, output, tolerance in parts:
        all_outputs[:, chosen], all_tolerances[:, chosen] = output, tolerance
    return all_outputs, all_tolerances
