"""At which lengths a series is faster than the reference, and what would decide the others."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from attnprof.analysis.series import Series, find_reference
from attnprof.core.records import is_reference_of
from attnprof.core.result_table import ResultTable, Row
from attnprof.core.verdict import MOST_ROUNDS, Verdict
from attnprof.core.workload import Case


@dataclass(frozen=True, slots=True)
class LengthVerdict:
    """The verdict at one length.

    Attributes:
        seq_len: the length, in tokens.
        verdict: the series against the reference at that length.
        seconds_needed: about how long the rounds take that would decide it; None where it is
            decided, or where that would take more than `MOST_ROUNDS` rounds.
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
        withheld: lengths without a verdict, by the reason.
    """

    label: str
    reference: str
    lengths: tuple[LengthVerdict, ...]
    withheld: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])


def find_verdicts(table: ResultTable, series: Sequence[Series]) -> list[VerdictFinding]:
    """The verdicts of all series that were timed beside the reference, see `find_reference`."""
    round_ns: dict[int, int] = {}
    for row in table.rows:
        seq_len = row.workload.seq_len
        round_ns[seq_len] = round_ns.get(seq_len, 0) + (row.integer("time_ns") or 0)
    reference = find_reference(series)
    if reference is None:
        return []
    kernel = reference.rows[0].kernel
    disturbed = {
        Case(kernel, row.workload) for row in table.rows if row.kernel == kernel and row.withheld
    }
    findings = (
        VerdictFinding(
            member.label,
            kernel,
            _verdicts(member, kernel, round_ns),
            _withheld(member, kernel, disturbed),
        )
        for member in series
    )
    return [finding for finding in findings if finding.lengths or finding.withheld]


def _withheld(
    series: Series, reference: str, disturbed: Collection[Case]
) -> dict[str, tuple[int, ...]]:
    """Lengths at which other processes disturbed the timing of both, by the reason."""
    lengths: dict[str, tuple[int, ...]] = {}
    for row in series.rows:
        is_other = row.withheld and row.kernel != reference
        if is_other and any(is_reference_of(case, row.workload) for case in disturbed):
            lengths[row.withheld] = (*lengths.get(row.withheld, ()), row.workload.seq_len)
    return lengths


def _verdicts(
    series: Series, reference: str, round_ns: Mapping[int, int]
) -> tuple[LengthVerdict, ...]:
    by_length = ((row.workload.seq_len, row.verdict_against(reference)) for row in series.rows)
    return tuple(
        LengthVerdict(seq_len, verdict, _seconds_needed(verdict, round_ns[seq_len]))
        for seq_len, verdict in by_length
        if verdict is not None
    )


def _seconds_needed(verdict: Verdict, round_ns: int) -> int | None:
    """Rounded up to two digits, as a budget that someone types."""
    if not verdict.rounds_needed or verdict.rounds_needed > MOST_ROUNDS or not round_ns:
        return None
    seconds = math.ceil(verdict.rounds_needed * round_ns / 1e9)
    step = 10 ** max(0, len(str(seconds)) - 2)
    return math.ceil(seconds / step) * step


def find_discordant(series: Series, reference: Series) -> list[Row]:
    """Rows whose median time says faster where the paired rounds say slower, or the reverse.

    Medians of drifting times may; the ratios of paired rounds are what verdicts are based on.
    """
    kernel = reference.rows[0].kernel
    times = {row.workload: row.integer("time_ns") for row in reference.rows}
    discordant: list[Row] = []
    for row in series.rows:
        time, beside = row.integer("time_ns"), times.get(row.workload.densified())
        speed = row.speed_against(kernel)
        if time and beside and speed and (beside - time) * (speed.median - 1) < 0:
            discordant.append(row)
    return discordant
