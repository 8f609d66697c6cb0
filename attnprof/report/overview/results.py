"""What the parts of an overview have in common: series, names, findings, the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attnprof.analysis import findings
from attnprof.analysis.findings import Findings
from attnprof.analysis.findings.fastest import FastestFinding
from attnprof.analysis.series import Series, find_reference, series_of
from attnprof.core.records import PREDICTED_TIME
from attnprof.core.result_table import ResultTable, Row
from attnprof.report.phrases import shorten_names

_LONGEST_NAME = 26
"""Longer names of series are shortened: tables beside them have to fit 80 columns."""


@dataclass(frozen=True, slots=True)
class Results:
    """A table, prepared for an overview.

    Attributes:
        series: all series, those with wrong outputs included.
        names: the text to print for each label.
        findings: of the table.
        lengths: all lengths in tokens, ascending.
        reference: what others are compared with: `bert-sdpa`, else the first dense kernel; None if
            the table has neither.
    """

    series: tuple[Series, ...]
    names: Mapping[str, str]
    findings: Findings
    lengths: tuple[int, ...]
    reference: Series | None

    @property
    def shortest(self) -> int:
        """The shortest length in tokens."""
        return self.lengths[0]

    @property
    def longest(self) -> int:
        """The longest length in tokens."""
        return self.lengths[-1]

    @property
    def is_timed(self) -> bool:
        """Whether a time was measured."""
        return self._has("time_ns")

    @property
    def is_predicted(self) -> bool:
        """Whether a time was predicted."""
        return self._has(PREDICTED_TIME)

    @property
    def has_peaks(self) -> bool:
        """Whether peak memory was measured; otherwise it is the predicted one."""
        return self._has("peak_bytes")

    def _has(self, quantity: str) -> bool:
        return any(quantity in row.values for series in self.series for row in series.rows)

    def fastest(self) -> list[FastestFinding]:
        """The best at each length, of the series that have the reference's shape."""
        best: dict[int, FastestFinding] = {}
        for finding in self.findings.fastest:
            is_first = finding.seq_len not in best
            if is_first or (self.reference and self.reference.label in _labels(finding)):
                best[finding.seq_len] = finding
        return list(best.values())

    def peak_bytes(self, row: Row) -> int | None:
        """Peak memory as the overview's table shows it: measured if any is, else predicted."""
        return row.integer("peak_bytes" if self.has_peaks else "predicted_peak_bytes")


def _labels(finding: FastestFinding) -> list[str]:
    return [contender.label for contender in finding.contenders]


def read_results(table: ResultTable) -> Results:
    """Prepare a table with one row or more."""
    series = tuple(series_of(table, with_wrong=True))
    return Results(
        series,
        shorten_names([member.label for member in series], _LONGEST_NAME),
        findings.find(table),
        tuple(sorted({row.workload.seq_len for row in table.rows})),
        find_reference(series),
    )


def row_at(series: Series, seq_len: int) -> Row | None:
    """The row of a series at a length; None if it has none."""
    return next((row for row in series.rows if row.workload.seq_len == seq_len), None)
