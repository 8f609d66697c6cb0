"""Break-even lengths: from where on a sparse kernel costs less than the reference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from attnprof.analysis.findings.crossovers import CrossoverFinding, find_crossovers
from attnprof.analysis.series import Series, find_reference, series_of
from attnprof.core.records import REFERENCE, WINDOWED_REFERENCE
from attnprof.core.units import format_count
from attnprof.report.crossover_summary import format_between
from attnprof.report.run import Run

_QUANTITIES = {"MACs": "executed_macs", "time": "time_ns"}


@dataclass(frozen=True, slots=True)
class Crossing:
    """A break-even length in a panel.

    Attributes:
        label: of the curve of the sparse kernel.
        quantity: of the panel.
        seq_len: the break-even length in tokens.
        value: the cost there.
        text: the length as text.
        reference: the kernel that costs as much there.
        colour: of the curve.
    """

    label: str
    quantity: str
    seq_len: float
    value: float
    text: str
    reference: str = REFERENCE
    colour: str = ""


def crossings_of(runs: Sequence[Run]) -> tuple[Crossing, ...]:
    """The break-even lengths between the lengths of each run, in MACs and in time."""
    crossings = (
        crossing
        for run in runs
        for crossing in _crossings(run, f", {run.name}" if len(runs) > 1 else "")
    )
    return tuple(dict.fromkeys(crossings))


def _crossings(run: Run, suffix: str) -> Iterator[Crossing]:
    members = [
        member for member in series_of(run.table) if not member.is_custom and member.is_supported
    ]
    reference = find_reference(members)
    name = reference.rows[0].kernel if reference else ""
    if reference is None or name not in (REFERENCE, WINDOWED_REFERENCE):
        return
    compared = [m for m in members if m is reference or m.kernel.pattern_support == "pattern"]
    for finding in find_crossovers(compared):
        quantity, at = _QUANTITIES.get(finding.resource, ""), _length(finding)
        points = [(n, value) for n, value in reference.points(quantity) if value > 0]
        if at is None or not points or not points[0][0] <= at[0] <= points[-1][0]:
            continue
        length, text = at
        value = _cost(reference, quantity, points, length)
        # MACs are the same in every run.
        label = finding.label if quantity == "executed_macs" else finding.label + suffix
        yield Crossing(label, quantity, length, value, text, name)


def _length(finding: CrossoverFinding) -> tuple[float, str] | None:
    """The length as a number and as text; None where the kernel does not come to cost less."""
    crossover, measured = finding.crossover, finding.measured
    if crossover.side != "less" or crossover.before == 0:
        return None
    if finding.resource == "MACs":
        return crossover.first, format_count(crossover.first)
    if measured is None or measured.length is None:
        return None
    return measured.length, f"≈ {format_between(measured)[1]}"


def _cost(
    reference: Series, quantity: str, points: Sequence[tuple[int, int]], length: float
) -> float:
    """The reference's cost at a length: exact, or between two points on the line through them."""
    if quantity == "executed_macs":
        return reference.kernel.executed_macs(reference.workload.at(round(length)))
    after = next(index for index, (n, _) in enumerate(points) if n >= length)
    (x0, y0), (x1, y1) = points[max(0, after - 1)], points[after]
    if x0 == x1:
        return y0
    part = math.log(length / x0) / math.log(x1 / x0)
    return y0 * (y1 / y0) ** part
