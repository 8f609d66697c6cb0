"""What a kernel's MACs consist of, term by term, with the numbers of a workload put in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from attnprof import kernels
from attnprof.analysis.series import Series, series_of
from attnprof.core import formulas
from attnprof.core.errors import AttnprofError
from attnprof.core.growth.polynomial import Growth, solve_growth
from attnprof.core.mac_terms import MacTerm, total_macs
from attnprof.core.result_table import ResultTable
from attnprof.core.workload import Workload
from attnprof.kernels.costs import KernelCosts
from attnprof.kernels.custom import CustomKernel, is_target
from attnprof.kernels.custom.saved import RecordedKernel, SavedKernel

_Counted = CustomKernel | RecordedKernel | SavedKernel


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a kernel's executed MACs.

    Attributes:
        name: what is computed, in words; of a custom kernel an operator.
        formula: a product of symbols, such as `3·b·n·D²`; empty where MACs are counted.
        numbers: the product with its numbers, such as `3 · 1 · 4,096 · 768²`; empty where MACs are
            counted.
        macs: the value.
        source: where the formula comes from.
    """

    name: str
    formula: str
    numbers: str
    macs: int
    source: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The executed MACs of one kernel and pattern at one length, and what the pattern needs.

    Attributes:
        label: the kernel's name, and whatever distinguishes this pattern from others in a table.
        workload: the call.
        padded_seq_len: the length that is computed, in tokens.
        terms: of the executed MACs, which are their sum.
        useful: terms of the useful MACs; empty for a custom kernel, whose pattern is not known.
        memory: the predicted peak in bytes as an exact polynomial of the length, from the padded
            length on; None where it is none.
        peak_bytes: the predicted peak.
    """

    label: str
    workload: Workload
    padded_seq_len: int
    terms: tuple[Term, ...]
    useful: tuple[MacTerm, ...]
    memory: Growth | None
    peak_bytes: int | None

    @property
    def executed_macs(self) -> int:
        """The sum of the terms."""
        return sum(term.macs for term in self.terms)

    @property
    def useful_macs(self) -> int:
        """The sum of the useful terms."""
        return total_macs(self.useful)


def explain(kernel_name: str, workload: Workload) -> tuple[Term, ...]:
    """The executed MACs of a kernel, term by term; of a custom kernel, operator by operator.

    Args:
        kernel_name: as `--kernel` names it.
        workload: that the kernel supports.

    Raises:
        UsageError: when there is no such kernel.
        AttnprofError: when a custom kernel cannot be counted.
    """
    kernel = kernels.find(kernel_name)
    if is_target(kernel):
        return _counted_terms(kernel, workload)
    return tuple(
        Term(term.name, term.formula, term.numbers, term.macs, kernel.source)
        for term in kernel.mac_terms(workload)
    )


def _counted_terms(kernel: _Counted, workload: Workload) -> tuple[Term, ...]:
    counted = sorted(kernel.macs_by_operator(workload).items(), key=lambda item: -item[1])
    return tuple(Term(name, "", "", macs, kernel.source) for name, macs in counted if macs)


def explain_table(table: ResultTable) -> list[Explanation]:
    """One explanation for each kernel and pattern, at its longest length with executed MACs.

    A custom kernel of saved results is left out where its operators are not known.
    """
    return explain_all(series_of(table))


def explain_all(every: Iterable[Series]) -> list[Explanation]:
    """One explanation for each series; see `explain_table`."""
    explained = (explain_series(series) for series in every if series.points("executed_macs"))
    return [explanation for explanation in explained if explanation is not None]


def explain_series(series: Series) -> Explanation | None:
    """The explanation of one series, at its longest length with executed MACs.

    Returns:
        None for a custom kernel of saved results whose operators are not known.
    """
    row = [row for row in series.rows if row.integer("executed_macs") is not None][-1]
    workload = row.workload
    if series.saved is None:
        terms = explain(row.kernel, workload)
    else:
        try:
            terms = _counted_terms(series.saved, workload)
        except AttnprofError:
            return None
    return Explanation(
        series.label,
        workload,
        kernels.padded_seq_len(series.kernel, workload),
        terms,
        () if series.is_custom else tuple(formulas.useful_terms(workload)),
        None if series.is_custom else _memory_growth(series.kernel, workload),
        row.integer("predicted_peak_bytes"),
    )


def _memory_growth(kernel: KernelCosts, workload: Workload) -> Growth | None:
    """The predicted peak as a polynomial of the length, from this length to four times it."""
    base = kernels.padded_seq_len(kernel, workload)

    def peak_bytes(seq_len: int) -> int:
        return kernel.peak_bytes(workload.at(seq_len))

    growth = solve_growth(peak_bytes, [base, 2 * base, 3 * base, 4 * base])
    return None if growth.residual else growth
