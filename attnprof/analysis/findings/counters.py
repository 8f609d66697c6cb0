"""What ptflops did not count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from attnprof.analysis.series import Series
from attnprof.core.growth.polynomial import doubling_exponent


@dataclass(frozen=True, slots=True)
class CounterFinding:
    """What a backend of ptflops counted of a series at its longest counted length.

    Attributes:
        label: the series.
        backend: `pytorch` or `aten`.
        seq_len: the length, in tokens.
        counted_macs: what ptflops reports.
        executed_macs: what the kernel multiplies.
        missed_operator: the operation that ptflops does not count, where it is known.
        is_training: whether `executed_macs` are those of forward and backward.
        shorter: the length before, in tokens; None if there is only one length.
        counted_exponent: k of the growth n^k of the counts between the two lengths.
        executed_exponent: k of the growth n^k of the executed MACs.
    """

    label: str
    backend: Literal["pytorch", "aten"]
    seq_len: int
    counted_macs: int
    executed_macs: int
    missed_operator: str
    is_training: bool
    shorter: int | None
    counted_exponent: float
    executed_exponent: float


def find_uncounted(series: Series) -> list[CounterFinding]:
    """What each backend of ptflops counted of a series at its longest counted length."""
    findings: list[CounterFinding] = []
    # A custom kernel may have no count, or no matrix products.
    executed = {length: macs for length, macs in series.points("executed_macs") if macs}
    for backend in ("pytorch", "aten"):
        counts = series.points(f"ptflops_{backend}_macs")
        points = [(length, macs) for length, macs in counts if length in executed]
        if not points:
            continue
        seq_len, counted = points[-1]
        before = points[-2] if len(points) > 1 and points[-2][1] and counted else None
        longest = (seq_len, executed[seq_len])
        findings.append(
            CounterFinding(
                series.label,
                backend,
                seq_len,
                counted,
                executed[seq_len],
                series.kernel.ptflops_misses,
                series.workload.mode == "training",
                before[0] if before else None,
                doubling_exponent(before, points[-1]) if before else 0.0,
                doubling_exponent((before[0], executed[before[0]]), longest) if before else 0.0,
            )
        )
    return findings
