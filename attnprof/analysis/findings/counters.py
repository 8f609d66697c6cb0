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
        seq_len: the length.
        counted_macs: what ptflops says.
        executed_macs: what is multiplied.
        unseen: the operation whose products ptflops does not see, where it is known.
        is_training: whether the MACs executed are those of forward and backward.
        shorter: the length before, None where there is one length only.
        counted_exponent: growth of the counts between the two lengths, as n to this power.
        executed_exponent: growth of what is multiplied.
    """

    label: str
    backend: Literal["pytorch", "aten"]
    seq_len: int
    counted_macs: int
    executed_macs: int
    unseen: str
    is_training: bool
    shorter: int | None
    counted_exponent: float
    executed_exponent: float


def find_uncounted(series: Series) -> list[CounterFinding]:
    """What each backend of ptflops counted of a series at its longest counted length."""
    findings: list[CounterFinding] = []
    # What is the user's own may have no count, or no products.
    executed = {length: macs for length, macs in series.points("executed_macs") if macs}
    for backend in ("pytorch", "aten"):
        counts = series.points(f"ptflops_{backend}_macs")
        points = [(length, macs) for length, macs in counts if length in executed]
        if not points:
            continue
        seq_len, counted = points[-1]
        before = points[-2] if len(points) > 1 and points[-2][1] and counted else None
        true = (seq_len, executed[seq_len])
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
                doubling_exponent((before[0], executed[before[0]]), true) if before else 0.0,
            )
        )
    return findings
