"""What follows from a table: growth, what is faster, where it pays, what ptflops missed."""

from __future__ import annotations

from dataclasses import dataclass

from attnprof.analysis.findings.counters import CounterFinding, find_uncounted
from attnprof.analysis.findings.crossovers import CrossoverFinding, find_crossovers
from attnprof.analysis.findings.growth import GrowthFinding, find_growth
from attnprof.analysis.findings.max_length import MaxLengthFinding, find_max_length
from attnprof.analysis.findings.speed import VerdictFinding, find_verdicts
from attnprof.analysis.series import series_of
from attnprof.core.result_table import ResultTable


@dataclass(frozen=True, slots=True)
class Findings:
    """All that follows from a table."""

    growth: tuple[GrowthFinding, ...]
    verdicts: tuple[VerdictFinding, ...]
    crossovers: tuple[CrossoverFinding, ...]
    counters: tuple[CounterFinding, ...]
    max_lengths: tuple[MaxLengthFinding, ...] = ()


def find(table: ResultTable) -> Findings:
    """What follows from a table, in the order of its series."""
    series = [one for one in series_of(table) if one.is_supported]
    growth = (find_growth(one) for one in series)
    available = table.available_bytes
    fits = (find_max_length(one, available, table.machine) for one in series) if available else ()
    return Findings(
        growth=tuple(finding for finding in growth if finding is not None),
        verdicts=tuple(find_verdicts(table, series)),
        crossovers=tuple(find_crossovers(series)),
        counters=tuple(finding for one in series for finding in find_uncounted(one)),
        max_lengths=tuple(finding for finding in fits if finding is not None),
    )
