"""No two statements of one run disagree, whatever the times: verdicts, cells, crossovers, notes."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from timed_tables import Speed, timed_table

from attnprof import ResultTable
from attnprof.analysis import findings
from attnprof.analysis.findings import Findings
from attnprof.core.records import REFERENCE, Record
from attnprof.core.result_table import Row
from attnprof.core.units import format_count, format_ratio
from attnprof.report.columns import COMPARE_COLUMNS
from attnprof.report.overview import overview_of
from attnprof.report.overview.model import Overview

LENGTHS = (128, 256, 512, 1024)
KERNELS = ("bert-eager", "longformer-hf", "longformer-banded")
TIMES_NS = (10**6, 3 * 10**6, 10**7, 4 * 10**7)


@st.composite
def speeds(draw: st.DrawFn) -> Speed:
    median = draw(st.floats(0.02, 50) | st.floats(0.95, 1.05))
    low, high = draw(st.floats(1.0, 2.0)), draw(st.floats(1.0, 2.0))
    return median, median / low, median * high


@st.composite
def tables(draw: st.DrawFn) -> ResultTable:
    by_kernel = {
        kernel: draw(st.lists(st.none() | speeds(), min_size=4, max_size=4)) for kernel in KERNELS
    }
    withheld = draw(st.sets(st.sampled_from(LENGTHS)))
    table = timed_table(by_kernel, TIMES_NS, withheld=sorted(withheld), len=LENGTHS, window=64)
    drift = draw(st.sampled_from([None, 0.5, 2.0]))
    row = draw(st.sampled_from(table.rows))
    if drift and "time_ns" in row.values:
        time_ns = round(row.values["time_ns"] * drift)
        table.add(Record(row.kernel, row.workload, "time_ns", time_ns))
    return table


def outcome_of(row: Row) -> str:
    """What is known of a row against the reference; empty where it was not timed."""
    if row.withheld:
        return "withheld"
    return row.verdict.outcome if row.verdict else ""


def outcomes_of(table: ResultTable) -> dict[tuple[str, int], str]:
    return {(row.kernel, row.workload.seq_len): outcome_of(row) for row in table.rows}


def cells_of(overview: Overview) -> dict[tuple[str, str], str]:
    """The first table's cells, by kernel and heading."""
    table = overview.tables[0]
    return {
        (row[0], heading): cell
        for row in table.rows
        for heading, cell in zip(table.columns, row[1:], strict=True)
    }


def the_fastest_is_faster_than_the_reference_and_nobody_is_faster_than_it(
    table: ResultTable, found: Findings
) -> None:
    outcomes = outcomes_of(table)
    for finding in found.fastest:
        n, best = finding.seq_len, finding.best
        others = {kernel: outcomes[kernel, n] for kernel in KERNELS}
        if outcomes[REFERENCE, n] == "withheld":
            assert best == ()
            continue
        if best == (REFERENCE,):
            assert set(others.values()) <= {"slower", ""}
        assert (REFERENCE in best) == ("faster" not in others.values())
        for kernel, outcome in others.items():
            if outcome == "slower" and REFERENCE in best:
                assert kernel not in best
            if best == (kernel,):
                assert outcome == "faster"


def crossovers_in_time_say_what_the_verdicts_say(table: ResultTable, found: Findings) -> None:
    outcomes = outcomes_of(table)
    for finding in found.crossovers:
        if finding.measured is None or finding.reference != REFERENCE:
            continue
        known = {timed.seq_len: timed.outcome for timed in finding.measured.lengths}
        expected = {n: outcomes[finding.label, n] for n in LENGTHS if outcomes[finding.label, n]}
        assert known == expected
        if known[max(known)] == "faster":
            assert finding.crossover.side == "less"
            assert finding.ratio < 1


def cells_show_the_verdicts_and_sentences_show_the_cells(
    table: ResultTable, overview: Overview
) -> None:
    cells = cells_of(overview)
    (speed,) = (column for column in COMPARE_COLUMNS if column.heading == "speed")
    for row in table.rows:
        place = (row.kernel, format_count(row.workload.seq_len))
        if place not in cells:
            continue
        outcome = outcome_of(row)
        assert ("~" in cells[place]) == (outcome == "undecided")
        if row.verdict:
            ratio = format_ratio(row.verdict.speed.median)
            assert cells[place].split()[-1].lstrip("~") == ratio
            assert speed.show(row).lstrip("~") == ratio
        elif row.kernel != REFERENCE:
            assert "x" not in cells[place]
    longest = format_count(LENGTHS[-1])
    assert len(overview.verdict) <= 5
    of_speed = [text for text in overview.verdict if not text.startswith("More memory")]
    for sentence in of_speed:
        for kernel, ratio in re.findall(r"([a-z-]+) \(([0-9.,]+x)", sentence):
            assert cells[kernel, longest].split()[-1] == ratio


def a_time_that_contradicts_its_speed_is_explained(table: ResultTable) -> None:
    rows = {(row.kernel, row.workload.seq_len): row for row in table.rows}
    text = " ".join(note for note in overview_of(table, 1000).notes if "paired" in note)
    for (kernel, n), row in rows.items():
        time, beside = row.integer("time_ns"), rows[REFERENCE, n].integer("time_ns")
        if not row.verdict or not time or not beside:
            continue
        speed = row.verdict.speed.median
        disagree = (time < beside and speed < 1) or (time > beside and speed > 1)
        assert (f"{kernel} at {format_count(n)}" in text) == disagree


def the_best_cells_are_those_of_the_sentences(found: Findings, overview: Overview) -> None:
    best = {finding.seq_len: finding.best for finding in found.fastest}
    shown = overview.tables[0]
    for row, marked in zip(shown.rows, shown.best, strict=True):
        for index in marked:
            seq_len = int(shown.columns[index - 1].replace(",", ""))
            assert row[0] in best[seq_len]


@given(table=tables())
@settings(max_examples=30, deadline=None)
def test_statements_agree(table: ResultTable) -> None:
    found, overview = findings.find(table), overview_of(table)
    the_fastest_is_faster_than_the_reference_and_nobody_is_faster_than_it(table, found)
    crossovers_in_time_say_what_the_verdicts_say(table, found)
    cells_show_the_verdicts_and_sentences_show_the_cells(table, overview)
    a_time_that_contradicts_its_speed_is_explained(table)
    the_best_cells_are_those_of_the_sentences(found, overview)
