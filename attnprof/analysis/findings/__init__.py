"""What follows from a table: growth, speed, crossovers, maximum lengths, what ptflops missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attnprof.analysis.findings.counters import CounterFinding, find_uncounted
from attnprof.analysis.findings.crossovers import CrossoverFinding, find_crossovers
from attnprof.analysis.findings.fastest import FastestFinding, find_fastest
from attnprof.analysis.findings.growth import GrowthFinding, find_growth
from attnprof.analysis.findings.max_length import MaxLengthFinding, find_max_length
from attnprof.analysis.findings.speed import VerdictFinding, find_verdicts
from attnprof.analysis.series import Series, series_of
from attnprof.core.result_table import ResultTable


@dataclass(frozen=True, slots=True)
class Findings:
    """All findings of a table, one tuple for each kind."""

    growth: tuple[GrowthFinding, ...]
    verdicts: tuple[VerdictFinding, ...]
    crossovers: tuple[CrossoverFinding, ...]
    counters: tuple[CounterFinding, ...]
    max_lengths: tuple[MaxLengthFinding, ...] = ()
    fastest: tuple[FastestFinding, ...] = ()


def find(table: ResultTable) -> Findings:
    """The findings of a table, in the order of its series.

    Maximum lengths are found only where the table has the bytes that are available.
    """
    return find_in(table, series_of(table))


def find_in(table: ResultTable, every: Sequence[Series]) -> Findings:
    """The findings of a table, from all of its series."""
    series = [member for member in every if member.is_supported]
    growth = (find_growth(member) for member in series)
    available = table.available_bytes
    max_lengths = (
        (find_max_length(member, available, table.machine) for member in series)
        if available
        else ()
    )
    return Findings(
        growth=tuple(finding for finding in growth if finding is not None),
        verdicts=tuple(find_verdicts(table, series)),
        crossovers=tuple(find_crossovers(series)),
        counters=tuple(finding for member in series for finding in find_uncounted(member)),
        max_lengths=tuple(finding for finding in max_lengths if finding is not None),
        fastest=tuple(find_fastest(series)),
    )
