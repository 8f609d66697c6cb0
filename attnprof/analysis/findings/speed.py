"""Which series are faster than the reference at which lengths, and what would decide the others."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from attnprof.analysis.series import Series
from attnprof.core.records import REFERENCE
from attnprof.core.result_table import ResultTable
from attnprof.core.verdict import MOST_ROUNDS, Verdict
from attnprof.core.workload import Workload


@dataclass(frozen=True, slots=True)
class LengthVerdict:
    """The verdict at one length.

    Attributes:
        seq_len: the length.
        verdict: on the series against the reference there.
        seconds_needed: about how long the rounds that would decide it take; None where there are
            none, or more than are ever run.
    """

    seq_len: int
    verdict: Verdict
    seconds_needed: int | None


@dataclass(frozen=True, slots=True)
class VerdictFinding:
    """A series against the reference.

    Attributes:
        label: the series.
        reference: the kernel that it is compared with.
        lengths: the verdicts, in ascending lengths.
        withheld: lengths without one, by the reason.
    """

    label: str
    reference: str
    lengths: tuple[LengthVerdict, ...]
    withheld: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])


def find_verdicts(table: ResultTable, series: Sequence[Series]) -> list[VerdictFinding]:
    """The verdicts of all series that were timed beside the reference."""
    round_ns: dict[int, int] = {}
    for row in table.rows:
        seq_len = row.workload.seq_len
        round_ns[seq_len] = round_ns.get(seq_len, 0) + (row.integer("time_ns") or 0)
    measured = {row.workload for row in table.rows if row.kernel == REFERENCE and row.withheld}
    findings = (
        VerdictFinding(one.label, REFERENCE, _lengths(one, round_ns), _withheld(one, measured))
        for one in series
    )
    return [finding for finding in findings if finding.lengths or finding.withheld]


def _withheld(series: Series, references: Container[Workload]) -> dict[str, tuple[int, ...]]:
    """Where both were timed, and something else disturbed that."""
    found: dict[str, tuple[int, ...]] = {}
    for row in series.rows:
        is_pair = row.kernel != REFERENCE and row.workload.densified() in references
        if row.withheld and is_pair:
            found[row.withheld] = (*found.get(row.withheld, ()), row.workload.seq_len)
    return found


def _lengths(series: Series, round_ns: Mapping[int, int]) -> tuple[LengthVerdict, ...]:
    told = ((row.workload.seq_len, row.verdict) for row in series.rows)
    return tuple(
        LengthVerdict(seq_len, one, _seconds_needed(one, round_ns[seq_len]))
        for seq_len, one in told
        if one is not None
    )


def _seconds_needed(verdict: Verdict, round_ns: int) -> int | None:
    """Rounded up to two digits: a budget is for a person to type."""
    if not verdict.rounds_needed or verdict.rounds_needed > MOST_ROUNDS or not round_ns:
        return None
    seconds = math.ceil(verdict.rounds_needed * round_ns / 1e9)
    step = 10 ** max(0, len(str(seconds)) - 2)
    return math.ceil(seconds / step) * step
