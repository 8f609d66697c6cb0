"""Parts of the matmul rate that calls reach, from literal times and rates."""

from __future__ import annotations

from dataclasses import replace

from machines import MACHINE

from attnprof import AttentionPattern, ResultTable, Workload
from attnprof.analysis.utilisation import with_rates_of, with_utilisation
from attnprof.core.records import CASE, COPY_RATE, MATMUL_RATE, WITHHELD, Record, Status
from attnprof.core.result_table import Row

WORKLOAD = Workload(AttentionPattern.dense(4), 64, 32)


def records(status: Status = "ok", **values: float) -> list[Record]:
    found = [Record("one", WORKLOAD, name, value) for name, value in values.items()]
    return [*found, Record("one", WORKLOAD, CASE, None, status)]


def row_of(**values: float) -> Row:
    (row,) = ResultTable(with_utilisation(records(**values))).rows
    return row


TIMED = {"executed_macs": 3000, "useful_macs": 1000, "time_ns": 50, MATMUL_RATE: 10**11}


def test_utilisation_is_macs_by_time_by_the_matmul_rate() -> None:
    row = row_of(**TIMED)
    assert row.values["utilisation"] == 0.6
    assert row.values["useful_utilisation"] == 0.2
    assert row.detail == ""


def test_more_than_the_matmul_rate_is_said_to_be_a_fault() -> None:
    row = row_of(**{**TIMED, "time_ns": 25})
    assert row.values["utilisation"] == 1.2
    assert row.detail.startswith("utilisation of 120.0 % of the matmul rate cannot be: ")
    assert row.detail.count("cannot be") == 1


def test_useful_macs_that_are_not_executed_may_exceed_the_rate() -> None:
    row = row_of(**{**TIMED, "useful_macs": 6000})
    assert row.values["useful_utilisation"] == 1.2
    assert row.detail == ""


def test_disturbed_times_have_no_utilisation() -> None:
    assert "utilisation" not in row_of(**TIMED, **{WITHHELD: 1}).values


def test_without_times_macs_or_rates_there_is_no_utilisation() -> None:
    for missing in TIMED:
        values = row_of(**{name: value for name, value in TIMED.items() if name != missing}).values
        expected = {"executed_macs": "useful_utilisation", "useful_macs": "utilisation"}
        assert {"utilisation", "useful_utilisation"} & values.keys() == (
            {expected[missing]} if missing in expected else set()
        )


def test_figures_of_an_earlier_run_are_kept() -> None:
    row = row_of(**TIMED, utilisation=0.5, useful_utilisation=0.1)
    assert (row.values["utilisation"], row.values["useful_utilisation"]) == (0.5, 0.1)


def test_a_stored_machine_gives_its_rates_in_the_dtype_of_a_case() -> None:
    (row,) = ResultTable(with_rates_of(records(intensity=5.0), MACHINE)).rows
    assert row.values[MATMUL_RATE] == 89 * 10**9
    assert row.values[COPY_RATE] == 22 * 2**30
    assert row.cells()["bound"] == "memory"


def test_rates_of_an_earlier_run_are_kept() -> None:
    earlier = records(**{MATMUL_RATE: 5, COPY_RATE: 7})
    (row,) = ResultTable(with_rates_of(earlier, MACHINE)).rows
    assert (row.values[MATMUL_RATE], row.values[COPY_RATE]) == (5, 7)


def test_a_stored_machine_without_the_dtype_says_so() -> None:
    half = replace(WORKLOAD, dtype="float16")
    (row,) = ResultTable(with_rates_of([Record("one", half, CASE)], MACHINE)).rows
    assert MATMUL_RATE not in row.values
    assert row.detail == (
        "bound and utilisation are empty: the stored machine has no rates of float16 on cpu"
    )


def test_an_unsupported_case_gets_no_rates() -> None:
    (row,) = ResultTable(with_rates_of(records("unsupported"), MACHINE)).rows
    assert row.values == {}
