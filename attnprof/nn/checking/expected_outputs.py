"""The expected outputs of sampled queries of an attention, and their tolerances.

Global tokens that attend to all tokens do so with separate projections, so an attention has two
sources of queries, keys and values: one for these tokens, and one for all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from attnprof.core.pattern import AttentionPattern
from attnprof.nn.checking.definition import Source, attend
from attnprof.nn.checking.tolerance import Difference, Precision, difference

_Leaves = dict[str, tuple[Tensor, Tensor]]
"""(gradient, spread) of each leaf, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The expected results at some rows.

    Attributes:
        output: `(heads, rows, value_dim)`.
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
            ordinary: queries of all tokens but the following, and the keys and values that they
                attend to.
            of_globals: the same for global tokens that attend to all tokens.
            cotangent: gradient of the output, `(heads, rows, value_dim)`; None for no gradients.
        """
        is_global = [row in self.pattern.symmetric_globals for row in self.rows]
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
                    _add(total, source.of_leaves(attended.gradients, self.rows, chosen))
        output, tolerance = _in_order(outputs, len(self.rows))
        gradients = {
            name: (gradient, self.precision.of_gradient(gradient, leaves[1][name][0], spread))
            for name, (gradient, spread) in leaves[0].items()
        }
        return Expected(output=output, tolerance=tolerance, gradients=gradients)

    def difference(self, actual: Tensor, expected: Expected) -> str:
        """Where an output `(heads, rows, value_dim)` is wrong, as text; empty if it is right."""
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
