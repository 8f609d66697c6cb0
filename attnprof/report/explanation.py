"""The formulas behind executed MACs with the numbers put in, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction

from rich.text import Text

from attnprof.analysis.explanation import Explanation, Term
from attnprof.core.growth.polynomial import Growth
from attnprof.core.units import (
    counted,
    format_bytes,
    format_count,
    format_macs,
    format_ratio,
    format_share,
    format_tokens,
)
from attnprof.report.symbols import describe_symbols
from attnprof.report.text_table import TextRow, fit_table, wrapped

_ON_CUDA = (
    "on CUDA: the fused kernels of an A100; tensors and the buffers of kernels, without cuBLAS's "
    "workspace, what is inside cuDNN's kernels, and what the allocator rounds up"
)
"""What the costs of a GPU are those of, and what its peak memory includes."""


def render_explanations(explanations: Sequence[Explanation], width: int) -> list[Text]:
    """A legend, then for each kernel its terms, what the pattern needs, its memory, its source.

    Args:
        explanations: one for each kernel and pattern.
        width: of the lines, in characters.
    """
    lines = [Text("Executed MACs, term by term", style="bold")]
    legend = _legend(explanations)
    lines += [Text(line, style="dim") for line in wrapped(legend, width) if legend]
    for explanation in explanations:
        lines += [Text(), *(Text(line, "bold") for line in wrapped(_heading(explanation), width))]
        rows = list(_rows(explanation))
        lines.append(fit_table(("", "", "", ""), rows, width, prose=(1, 2)))
        for sentence in _sentences(explanation):
            lines += [Text(line, style="dim") for line in wrapped(f"  {sentence}", width, "  ")]
    return lines


def _legend(explanations: Sequence[Explanation]) -> str:
    formulas = [term.formula for one in explanations for term in one.terms]
    for one in explanations:
        if one.executed_macs != one.useful_macs:
            formulas += [term.formula for term in one.useful]
    return describe_symbols(formulas)


def _heading(explanation: Explanation) -> str:
    workload = explanation.workload
    heading = f"{explanation.label} at {format_tokens(workload.seq_len)}"
    if explanation.padded_seq_len > workload.seq_len:
        heading += f", padded to {format_count(explanation.padded_seq_len)}"
    return heading


def _rows(explanation: Explanation) -> Iterator[TextRow]:
    for term in explanation.terms:
        yield TextRow(_cells(term))
    total = format_macs(explanation.executed_macs)
    exact = f"  {format_count(explanation.executed_macs)}"
    yield TextRow(("  executed", "", exact, total), "bold")


def _cells(term: Term) -> tuple[str, str, str, str]:
    numbers = f"= {term.numbers}" if term.numbers else ""
    return f"  {term.name}", term.formula, numbers, format_macs(term.macs)


def _sentences(explanation: Explanation) -> Iterator[str]:
    if explanation.useful:
        yield _useful(explanation)
        yield from _why_fewer(explanation)
    if explanation.peak_bytes is not None:
        yield _peak(explanation.peak_bytes, explanation.memory)
        if explanation.workload.device == "cuda":
            yield _ON_CUDA
    yield f"source: {explanation.terms[0].source}" if explanation.terms else "no MACs"


def _useful(explanation: Explanation) -> str:
    """What the pattern needs, as a sum, and the executed MACs relative to it."""
    workload, useful = explanation.workload, explanation.useful_macs
    if explanation.executed_macs == useful:
        return "useful: all of them"
    pairs = workload.pairs
    dense = len(workload.layers) * workload.num_heads * workload.queries * workload.seq_len
    formulas = Counter(term.formula for term in explanation.useful)
    terms = " + ".join(
        f"{count}·{formula}" if count > 1 else formula for formula, count in formulas.items()
    )
    share = format_share(pairs, dense)
    return (
        f"useful: {terms} = {format_macs(useful)}, with {counted(pairs, 'pair')} "
        f"({share} of all); executed / useful is "
        f"{format_ratio(explanation.executed_macs / useful)}"
    )


def _why_fewer(explanation: Explanation) -> Iterator[str]:
    """Why a kernel executes less than the definition has: it projects fewer vectors."""
    if explanation.executed_macs < explanation.useful_macs:
        yield (
            "fewer than useful, as few global tokens need no second projection of all keys and "
            "values: q (x W)ᵀ = (q Wᵀ) xᵀ projects the global queries instead"
        )


def _peak(peak_bytes: int, memory: Growth | None) -> str:
    shown = format_bytes(peak_bytes)
    if memory is None:
        return f"peak memory: {shown} (predicted)"
    terms = ((memory.c2, "·n²"), (memory.c1, "·n"), (memory.c0, ""))
    polynomial = "".join(_signed(value, power) for value, power in terms if value)
    return f"peak memory: {polynomial.removeprefix(' + ')} bytes = {shown} (predicted)"


def _signed(coefficient: Fraction, power: str) -> str:
    sign, size = ("−" if coefficient < 0 else "+"), abs(coefficient)
    number = f"{size.numerator:,}" + (f"/{size.denominator:,}" if size.denominator > 1 else "")
    return f" {sign} {number}{power}"
