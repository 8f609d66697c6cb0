"""Overviews of literal results: what is said first, what is left out, what fits a screen."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from estimate_in_process import estimate
from rich.console import Console
from timed_tables import Speed, timed_table

import attnprof
from attnprof import ResultTable
from attnprof.core.records import (
    CASE,
    PREDICTED_TIME,
    PREDICTED_TIME_HIGH,
    PREDICTED_TIME_LOW,
    Record,
    Status,
)
from attnprof.report.columns import COMPARE_COLUMNS
from attnprof.report.markdown import render_markdown
from attnprof.report.overview import overview_of
from attnprof.report.overview.model import OverviewTable
from attnprof.report.terminal_overview import render_overview

MILLISECOND_NS = 10**6
TIMES_NS = [15 * MILLISECOND_NS, 42 * MILLISECOND_NS, 422 * MILLISECOND_NS]


"""Why cells are empty, by kernel and quantity."""


def about(median: float, factor: float = 1.03) -> Speed:
    return median, median / factor, median * factor


FOUR = {
    "bert-eager": [about(0.6), about(0.5), about(0.28)],
    "longformer-hf": [about(0.3), about(0.4), about(0.7)],
    "longformer-banded": [about(0.83), about(1.06, 1.1), about(2.89)],
}


def counted(table: ResultTable, **shares: float) -> ResultTable:
    """The table with counts of ptflops as shares of the executed MACs, and measured peaks."""
    table.available_bytes = 22 * 2**30
    for row in list(table.rows):
        share = shares.get(row.kernel.replace("-", "_"), 1.0)
        macs = round(share * row.values["executed_macs"])
        peak = row.values["predicted_peak_bytes"]
        table.add(Record(row.kernel, row.workload, "ptflops_pytorch_macs", macs))
        table.add(Record(row.kernel, row.workload, "peak_bytes", peak))
    return table


def closed(
    table: ResultTable, kernel: str, lengths: Sequence[int], status: Status, detail: str
) -> None:
    for row in list(table.rows):
        if row.kernel == kernel and row.workload.seq_len in lengths:
            table.add(Record(kernel, row.workload, CASE, None, status, detail))


def lines_of(table: ResultTable, width: int = 80) -> list[str]:
    console = Console(width=width, color_system=None, highlight=False)
    with console.capture() as capture:
        for part in render_overview(overview_of(table, width), width):
            console.print(part)
    return [line.rstrip() for line in capture.get().splitlines()]


def column(table: OverviewTable, heading: str) -> dict[str, str]:
    index = 1 + table.columns.index(heading)
    return {row[0]: " ".join(row[index].split()) for row in table.rows}


def test_four_kernels_at_three_lengths_fit_one_screen() -> None:
    table = counted(
        timed_table(FOUR, TIMES_NS),
        bert_sdpa=0.22,
        longformer_hf=0.692,
        longformer_banded=0.676,
    )
    lines = lines_of(table)
    assert len(lines) + 1 <= 32, "with the line of hints"
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("BERT-base self-attention (768 wide, 12 heads), batch 1, float32")
    assert lines[1] == "Räder 3000, 2 threads, machine quiet; window 512, 1 global token"


def test_the_verdict_says_what_to_take_from_where_and_what_it_costs() -> None:
    table = counted(timed_table(FOUR, TIMES_NS), bert_sdpa=0.22)
    rows = {row.kernel: row for row in table.rows if row.workload.seq_len == 4096}
    banded, dense = rows["longformer-banded"], rows["bert-sdpa"]
    macs = banded.values["executed_macs"] / dense.values["executed_macs"]
    memory = banded.values["peak_bytes"] / dense.values["peak_bytes"]
    assert overview_of(table).verdict == (
        (
            "At 4,096 tokens longformer-banded is fastest: 2.89x as fast as bert-sdpa, with "
            f"{macs:.2f}x its MACs and {memory:.2f}x its memory."
        ),
        (
            "bert-sdpa is fastest at 512; at 1,024 bert-sdpa and longformer-banded are too close "
            "to call."
        ),
        (
            "longformer-banded pays off against bert-sdpa from 528 tokens in MACs, from somewhere "
            "between 512 and 4,096 in time and for good from 1,746 tokens in memory (predicted)."
        ),
        (
            "Slower than bert-sdpa at every length: bert-eager (0.28x, 31.9x its memory) and "
            "longformer-hf (0.70x, 9.22x its memory)."
        ),
        "ptflops misses 78.0 % of bert-sdpa's MACs (scaled_dot_product_attention) at 4,096.",
    )


def test_costs_by_length_and_at_the_longest_have_a_column_each() -> None:
    overview = overview_of(counted(timed_table(FOUR, TIMES_NS), bert_sdpa=0.22))
    by_length, at_longest = overview.tables
    assert column(by_length, "1,024") == {
        "bert-sdpa": "42.0 ms 1.00x",
        "bert-eager": "84.0 ms 0.50x",
        "longformer-hf": "105 ms 0.40x",
        "longformer-banded": "39.6 ms ~1.06x",
    }
    assert column(at_longest, "grows")["bert-sdpa"] == "n²"
    assert column(at_longest, "grows")["longformer-banded"] == "n"
    assert column(at_longest, "ptflops counts")["bert-sdpa"] == "22.0 %"
    assert set(at_longest.columns) == {
        "MACs",
        "grows",
        "ptflops counts",
        "peak memory",
        "fits up to",
    }
    assert re.fullmatch(
        r"~ undecided: longformer-banded at 1,024 \(0\.96 to 1\.17x\); try --max-seconds \d+",
        overview.undecided,
    )


def test_fewer_macs_than_useful_are_explained_and_only_there() -> None:
    overview = overview_of(timed_table(FOUR, TIMES_NS))
    marked = [name for name, cell in column(overview.tables[1], "MACs").items() if "*" in cell]
    assert marked == ["longformer-banded"]
    assert sum(note.startswith("* 0.70x the useful MACs") for note in overview.notes) == 1
    without = overview_of(timed_table(FOUR, TIMES_NS, global_tokens=0))
    assert not any(note.startswith("*") for note in without.notes)


def test_counts_of_more_than_all_macs_are_explained_and_only_there() -> None:
    def notes_of(share: float) -> list[str]:
        table = counted(timed_table(FOUR, TIMES_NS), bert_eager=share)
        return [note for note in overview_of(table).notes if note.startswith("over 100 %")]

    assert len(notes_of(1.006)) == 1
    assert notes_of(1.0) == notes_of(0.9) == []


def test_positions_of_global_tokens_are_named_after_what_they_are() -> None:
    table = attnprof.estimate(kernel="longformer-banded", len=64, global_tokens="@0:17:40")
    assert overview_of(table).setting.endswith("window 512, global tokens @0:17:40")


def test_a_withheld_length_has_no_verdict_and_its_cause_stands_in_one_line() -> None:
    overview = overview_of(timed_table(FOUR, TIMES_NS, withheld=[512, 1024]))
    assert overview.verdict[1] == "At 512 and 1,024 there is no verdict (see noise)."
    assert "at 4,096 in time" in overview.verdict[2]
    assert overview.noise == "noise: other processes used 0.9 of 2 cores at 512 and 1,024"
    assert "machine quiet" not in overview.setting
    nowhere = overview_of(timed_table(FOUR, TIMES_NS, withheld=[512, 1024, 4096]))
    assert nowhere.verdict[0].startswith("No verdict on speed")
    assert nowhere.verdict[1].startswith("At 4,096 tokens longformer-banded executes the fewest")
    assert not any("fast" in sentence for sentence in nowhere.verdict)


def test_wide_intervals_are_one_line_for_all_rows() -> None:
    speeds = {**FOUR, "bert-eager": [about(0.6), about(0.5), about(0.28, 2.0)]}
    overview = overview_of(timed_table(speeds, TIMES_NS))
    # From half the time to twice of it is ±75 % of it.
    assert overview.noise == "noise: times up to ±75 % (bert-eager at 4,096); raise --max-seconds"


def test_cases_without_a_result_say_why_in_a_line_each() -> None:
    speeds = {
        "bert-eager": [about(0.6), about(0.5), None],
        "longformer-hf": [about(0.3), None, None],
        "longformer-banded": [about(0.83), about(1.5), about(2.89)],
        "longformer-masked": [None, None, None],
    }
    table = timed_table(speeds, TIMES_NS)
    (eager,) = (r for r in table.rows if (r.kernel, r.workload.seq_len) == ("bert-eager", 4096))
    for quantity in (PREDICTED_TIME, PREDICTED_TIME_LOW, PREDICTED_TIME_HIGH):
        table.add(Record(eager.kernel, eager.workload, quantity, 12 * 10**9))
    closed(table, "bert-eager", [4096], "skipped", "needs 1.54 GiB, 1.00 GiB available")
    closed(table, "longformer-hf", [1024, 4096], "oom", f"ran out of memory{' again' * 30}")
    closed(table, "longformer-masked", [512, 1024, 4096], "wrong", "differs by 0.3")
    overview = overview_of(table)
    skipped, oom, wrong = overview.notes[:3]
    assert skipped == "bert-eager at 4,096: skipped: needs 1.54 GiB, 1.00 GiB available"
    assert oom.startswith("longformer-hf at 1,024 and 4,096: oom: ran out of memory again")
    assert oom.endswith(" again …")
    assert 80 < len(oom) <= 160, "two lines"
    assert wrong == "longformer-masked: wrong: differs by 0.3"
    assert column(overview.tables[0], "4,096") == {
        "bert-sdpa": "422 ms 1.00x",
        "bert-eager": "≈ 12.0 s",
        "longformer-hf": "oom",
        "longformer-banded": "146 ms 2.89x",
        "longformer-masked": "wrong",
    }
    assert column(overview.tables[1], "MACs")["longformer-masked"] == "–"


def test_a_time_that_was_not_predicted_is_not_compared() -> None:
    table = attnprof.estimate(len=4096, kernel=["bert-sdpa", "longformer-hf", "longformer-banded"])
    for row in list(table.rows):
        if row.kernel != "bert-sdpa":
            factor = 1 if row.kernel == "longformer-banded" else 100
            for quantity in (PREDICTED_TIME, PREDICTED_TIME_LOW, PREDICTED_TIME_HIGH):
                table.add(Record(row.kernel, row.workload, quantity, factor * 10**9))
    assert overview_of(table).verdict[0] == (
        "At 4,096 tokens longformer-banded is predicted to be fastest: ≈ 1.00 s, with 0.32x its "
        "MACs and 0.86x its memory."
    )


def test_variants_are_named_in_their_rows_and_fit_eighty_columns() -> None:
    table = counted(
        timed_table(
            {k: FOUR[k] for k in ("longformer-hf", "longformer-banded")}, TIMES_NS, window=[64, 256]
        )
    )
    names = [row[0] for row in overview_of(table).tables[0].rows]
    assert names[-1] == "longformer-banded w=256"
    assert max(map(len, lines_of(table))) <= 80


def test_of_many_lengths_those_that_fit_are_shown_with_the_first_and_the_last() -> None:
    lengths = [64 * 2**power for power in range(8)]
    times = [10**6 * 2**power for power in range(8)]
    table = timed_table({"longformer-banded": [about(1.5)] * 8}, times, len=lengths, window=32)
    by_length = overview_of(table).tables[0]
    shown = by_length.columns
    assert (shown[0], shown[-1]) == ("64", "8,192")
    assert by_length.note == f"{len(shown)} of 8 lengths are shown; all: --details"
    assert max(map(len, lines_of(table))) <= 80
    wide = overview_of(table, 200)
    assert len(wide.tables[0].columns) == 8
    assert wide.tables[0].note == ""


def test_with_many_kernels_there_are_still_five_sentences() -> None:
    speeds = {
        f"longformer-{kernel}": [about(0.5 * factor), about(factor), about(3 * factor)]
        for kernel, factor in (("banded", 1.1), ("hf", 0.3), ("flex", 0.9), ("masked", 0.5))
    }
    table = counted(timed_table(speeds, TIMES_NS, window=[64, 256]), bert_sdpa=0.2)
    overview = overview_of(table)
    assert len(overview.verdict) == 5
    assert max(map(len, overview.verdict)) < 400
    assert max(map(len, lines_of(table))) <= 80


def test_a_side_that_changes_twice_is_said_as_it_is() -> None:
    speeds = {"longformer-banded": [about(2.0), about(0.5), about(3.0)]}
    verdict = overview_of(timed_table(speeds, TIMES_NS)).verdict
    assert verdict[1] == "longformer-banded is fastest at 512; bert-sdpa is fastest at 1,024."
    # log(2) / log(6) of the way from 1,024 to 4,096, four times as long: 1,750.
    assert re.search(r"from about 1,7\d\d in time", verdict[2])


def test_a_speed_is_rounded_once_so_that_it_is_the_same_everywhere() -> None:
    # To four digits 0.77497 is 0.775, as in CSV, and that would be 0.78 to two.
    speeds = {"longformer-banded": [about(0.77497)]}
    table = timed_table(speeds, [422 * MILLISECOND_NS], len=4096)
    assert {row.values["speedup"] for row in table.rows} == {1.0, 0.775}
    text = render_markdown(table, COMPARE_COLUMNS)
    assert "0.78x" not in text
    assert text.count("0.77x") >= 4


def test_one_kernel_is_told_without_comparisons() -> None:
    overview = overview_of(timed_table({}, [422 * MILLISECOND_NS], len=4096))
    assert overview.verdict == (
        "At 4,096 tokens bert-sdpa takes 422 ms for 33.02 GMac.",
        "MACs grow as n² for bert-sdpa.",
    )
    assert column(overview.tables[0], "4,096") == {"bert-sdpa": "422 ms"}


def test_one_kernel_needs_no_verdict_where_other_work_disturbed_its_times() -> None:
    overview = overview_of(timed_table({}, TIMES_NS, withheld=[512, 1024, 4096]))
    assert overview.verdict[0] == "At 4,096 tokens bert-sdpa takes 422 ms for 33.02 GMac."
    assert not any("verdict" in sentence for sentence in overview.verdict)
    assert overview.noise.startswith("noise: other processes used 0.9 of 2 cores")


def test_an_estimate_compares_macs_and_memory() -> None:
    table = attnprof.estimate(kernel=["bert-sdpa", "longformer-hf"])
    overview = overview_of(table)
    assert overview.verdict[0] == (
        "At 4,096 tokens longformer-hf executes the fewest MACs, 0.53x bert-sdpa's, with 9.22x "
        "its memory."
    )
    assert overview.tables[0].heading == "MACs, against bert-sdpa"
    assert column(overview.tables[0], "4,096")["longformer-hf"] == "17.53 G 0.53x"
    assert overview.setting.startswith("closed forms, nothing measured;")


@pytest.mark.parametrize(
    ("kernels", "basis"),
    [
        (["mixers:Chunked"], "operators counted, nothing measured"),
        (["mixers:Chunked", "bert-sdpa"], "closed forms and operators counted, nothing measured"),
    ],
)
def test_costs_of_custom_kernels_are_not_from_closed_forms(kernels: list[str], basis: str) -> None:
    table = estimate(kernel=kernels, len=64, hidden_size=64, num_heads=4)
    assert overview_of(table).setting.partition(";")[0] == basis


def test_markdown_has_the_answer_before_what_is_folded() -> None:
    table = timed_table(FOUR, TIMES_NS)
    overview = overview_of(table, 120)
    first, _, folded = render_markdown(table, COMPARE_COLUMNS).partition("<details>")
    assert [line for line in first.splitlines() if line.startswith("- ")] == [
        f"- {sentence}" for sentence in overview.verdict
    ]
    assert "| longformer-banded |" in first
    assert "**146 ms 2.89x**" in first
    assert "39.6 ms \\~1.06x" in first
    assert "**Crossover lengths**" in folded


@pytest.mark.parametrize("width", [80, 120])
def test_no_word_is_broken(width: int) -> None:
    overview = overview_of(timed_table(FOUR, TIMES_NS), width)
    text = " ".join(" ".join(lines_of(timed_table(FOUR, TIMES_NS), width)).split())
    for sentence in (overview.heading, overview.setting, *overview.verdict, *overview.notes):
        assert sentence in text
