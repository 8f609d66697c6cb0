"""Findings of literal results, and the sentences that report them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from measured_tables import measured, rendered, times

import attnprof
from attnprof import ResultTable
from attnprof.analysis import findings
from attnprof.analysis.crossover import Crossover
from attnprof.core.records import WITHHELD, Record
from attnprof.core.result_table import COLUMNS
from attnprof.measure.static_costs import estimate_records
from attnprof.options import read_cases
from attnprof.report.columns import COMPARE_COLUMNS
from attnprof.report.markdown import render_markdown
from attnprof.report.overview.laws import law_of
from attnprof.report.summary import describe_findings, describe_notes


def test_growth_of_the_defaults_is_what_the_formulas_say() -> None:
    growth = {
        finding.label: finding.growth
        for finding in findings.find(measured()).growth
        if finding.growth is not None
    }
    assert len(growth) == 3
    width = 768
    assert growth["bert-eager"].c2 == growth["bert-sdpa"].c2 == 2 * width
    assert growth["bert-sdpa"].c1 == 3 * width**2
    assert growth["bert-sdpa"].quadratic_dominates_from == 1153
    hugging_face = growth["longformer-hf"]
    assert hugging_face.law == "n"
    assert hugging_face.c1 == 5 * width**2 + width * (3.5 * 512 + 4)
    assert all(one.residual == 0 for one in growth.values())


def growth_lines(table: ResultTable) -> list[str]:
    return dict(describe_findings(findings.find(table)))["Growth of executed MACs"]


def test_growth_in_tiles_is_checked_at_doublings() -> None:
    table = attnprof.estimate(len=2050, dilation="1x10:4x2", kernel="longformer-banded")
    (finding,) = findings.find(table).growth
    assert finding.growth is None
    assert finding.law is not None
    assert finding.law.name == "n"
    longest = f"{finding.law.longer:,}"
    assert growth_lines(table) == [
        (
            f"longformer-banded: grows linearly (n), checked up to {longest} tokens; "
            "no exact polynomial."
        )
    ]


@pytest.mark.parametrize("seq_len", [512, 4096, 16384])
def test_tiles_that_fit_a_quadratic_by_chance_still_grow_linearly(seq_len: int) -> None:
    kernel, window = "longformer-banded", 512
    table = attnprof.estimate(len=seq_len, window=window, kernel=kernel, mode="training")
    (finding,) = findings.find(table).growth
    assert law_of(finding) == "n"


def test_the_share_of_each_term_of_a_quadratic_is_reported() -> None:
    n, width = 4096, 768
    dense = 100 * 2 * width * n * n / (3 * n * width**2 + 2 * width * n * n)
    assert growth_lines(measured())[0] == (
        f"bert-eager, bert-sdpa: grows quadratically (n²): {dense:.1f} % n² and "
        f"{100 - dense:.1f} % n at 4,096 tokens; the n² term dominates from 1,153 tokens."
    )


def test_crossing_in_macs_is_the_first_length_of_a_search_through_all() -> None:
    (case,) = read_cases({"len": 4096, "kernel": "longformer-hf"}, "cpu")
    sparse, dense = attnprof.kernels.find("longformer-hf"), attnprof.kernels.find("bert-sdpa")

    def is_cheaper(n: int) -> bool:
        workload = case.workload.at(n)
        return sparse.executed_macs(workload) < dense.executed_macs(workload.densified())

    expected = max(n for n in range(1, 4097) if not is_cheaper(n)) + 1
    (finding,) = (
        finding
        for finding in findings.find(measured()).crossovers
        if (finding.reference, finding.resource) == ("bert-sdpa", "MACs")
    )
    assert finding.crossover == Crossover("less", expected - 1, expected)


def against_sdpa(ratios: list[float], factor: float = 1.01) -> ResultTable:
    """The defaults, with measured times of longformer-hf in units of bert-sdpa's.

    Their intervals reach from one `factor`th of the ratio to `factor` times it.
    """
    return measured(
        **{
            "time_ratio:bert-sdpa": times(longformer_hf=ratios),
            "time_ratio_low:bert-sdpa": times(longformer_hf=[r / factor for r in ratios]),
            "time_ratio_high:bert-sdpa": times(longformer_hf=[r * factor for r in ratios]),
        }
    )


def with_ratios(
    ratios: dict[int, tuple[float, float, float]], rounds: int | None = 40
) -> ResultTable:
    """The speeds of longformer-hf by length, as (median, low, high), from times of 10 and 20 ms."""
    quantities = {
        f"time_ratio{end}:bert-sdpa": {
            ("longformer-hf", n): 1 / speeds[place] for n, speeds in ratios.items()
        }
        for end, place in (("", 0), ("_low", 2), ("_high", 1))
    }
    quantities["speedup"] = {("longformer-hf", n): speeds[0] for n, speeds in ratios.items()}
    quantities["time_ns"] = {
        (kernel, n): taken_ns
        for kernel, taken_ns in (("bert-sdpa", 10**7), ("longformer-hf", 2 * 10**7))
        for n in ratios
    }
    if rounds is not None:
        quantities["rounds"] = {("longformer-hf", n): rounds for n in ratios}
    return measured(**quantities)


def verdict_lines(table: ResultTable) -> list[str]:
    return dict(describe_findings(findings.find(table)))["Speed relative to bert-sdpa"]


def test_undecided_verdicts_name_the_rounds_that_would_decide_them() -> None:
    # At 1,024 the low end is 6 % below the median, and 1.01 is 3 % below it: twice as wide as it
    # may be takes four times as many rounds, of 30 ms each.
    table = with_ratios({512: (0.82, 0.8, 0.84), 1024: (1.04, 0.98, 1.1), 4096: (2.85, 2.6, 3.1)})
    (line,) = verdict_lines(table)
    assert line == (
        "longformer-hf: slower at 512 (0.82x, 0.80 to 0.84); undecided at 1,024 (1.04x, 0.98 to "
        "1.10), needs about 160 rounds (--max-seconds 5); faster at 4,096 (2.85x, 2.60 to 3.10)."
    )
    assert 40 * (np.log(1.04 / 0.98) / np.log(1.04 / 1.01)) ** 2 == pytest.approx(160, rel=0.05)
    assert "**Speed relative to bert-sdpa**" in render_markdown(table, COMPARE_COLUMNS)


def test_verdicts_that_no_rounds_would_decide_are_too_close_to_call() -> None:
    close, noisy = (1.002, 0.986, 1.014), (1.0, 0.2, 5.0)
    (line,) = verdict_lines(with_ratios({512: close, 1024: noisy}))
    assert "undecided at 512 (1.00x, 0.99 to 1.01), too close to call: less than 1 % apart;" in line
    assert "needs more than 10,000 rounds: reduce background load." in line
    (line,) = verdict_lines(with_ratios({512: close}, rounds=None))
    assert line == "longformer-hf: undecided at 512 (1.00x, 0.99 to 1.01)."


def test_undecided_speeds_are_marked_in_the_table() -> None:
    table = with_ratios({512: (0.82, 0.8, 0.84), 1024: (1.04, 0.98, 1.1)})
    rows = [line.split() for line in rendered(table, 100).splitlines()]
    speeds = [row[-1] for row in rows if row[:1] == ["longformer-hf"]]
    assert speeds[:2] == ["0.82x", "~1.04x"]


def test_json_has_intervals_and_verdicts_and_csv_keeps_its_columns() -> None:
    table = with_ratios({512: (0.8, 0.75, 0.85)})
    rows = json.loads(table.to_json())["rows"]
    (row,) = (row for row in rows if (row["kernel"], row["seq_len"]) == ("longformer-hf", 512))
    assert (row["speedup_low"], row["speedup_high"], row["verdict"]) == (0.75, 0.85, "slower")
    assert sum("verdict" in row for row in rows) == 1
    assert table.to_csv().splitlines()[0] == ",".join(COLUMNS)


def crossover_sentence(table: ResultTable) -> str:
    return dict(describe_findings(findings.find(table)))["Crossover lengths"][-1]


def test_crossing_in_time_is_solved_between_measured_lengths() -> None:
    # As n^-1: 2x at 1,024 and 0.5x at 4,096 is 1x at 2,048; 10 % more or less moves it as much.
    table = against_sdpa([4.0, 2.0, 0.5], factor=1.1)
    assert (
        "; faster from about 2,000 tokens (99 % interval 1,900 to 2,300, interpolated between "
        "1,024 and 4,096; 2.00x at 4,096)." in crossover_sentence(table)
    )


def test_no_crossover_in_time_is_claimed_across_an_undecided_length() -> None:
    table = against_sdpa([4.0, 1.05, 0.7], factor=1.1)
    assert crossover_sentence(table).endswith(
        "; faster from somewhere between 512 and 4,096 tokens (1.43x at 4,096), undecided at 1,024."
    )
    table = against_sdpa([1.05, 0.95, 0.5], factor=1.1)
    assert crossover_sentence(table).endswith(
        "; faster at 4,096 (2.00x at 4,096), undecided at 512 and 1,024."
    )


def test_a_side_that_returns_is_told_at_its_lengths() -> None:
    sentence = crossover_sentence(against_sdpa([0.5, 2.0, 0.5]))
    assert "; faster from about 2,050 tokens (" in sentence
    assert sentence.endswith(", also faster at 512.")


def test_becoming_slower_from_a_length_is_reported_too() -> None:
    table = against_sdpa([0.5, 0.5, 2.0], factor=1.01)
    assert "slower from about 2,050 tokens (" in crossover_sentence(table)


def test_a_series_without_a_crossover_is_compared_at_every_length() -> None:
    sentence = crossover_sentence(against_sdpa([4.0, 3.0, 2.0]))
    assert "more memory (predicted) at every length tested (9.22x at 4,096)" in sentence
    assert "slower at every length tested (0.50x at 4,096)" in sentence


def test_one_length_is_not_called_every_length() -> None:
    sentence = crossover_sentence(with_ratios({4096: (0.5, 0.49, 0.51)}))
    assert sentence.endswith("; slower at 4,096 (0.50x at 4,096).")


def test_noise_is_no_crossing() -> None:
    sentence = crossover_sentence(against_sdpa([4.0, 3.0, 0.96], factor=1.1))
    assert sentence.endswith("; slower at 512 and 1,024, undecided at 4,096.")


def test_a_withheld_length_is_no_length_tested() -> None:
    table = against_sdpa([0.5, 0.5, 0.5])
    for row in list(table.rows):
        if row.workload.seq_len == 512 and row.kernel in ("bert-sdpa", "longformer-hf"):
            table.add(Record(row.kernel, row.workload, WITHHELD, 1, detail="not measurable now"))
    sentence = crossover_sentence(table)
    assert sentence.endswith("; faster at 1,024 and 4,096 (2.00x at 4,096), no verdict at 512.")


def test_padding_is_reported_with_the_growth() -> None:
    assert growth_lines(measured())[-1] == (
        "longformer-hf: grows linearly (n), padded to multiples of 512 tokens."
    )


def test_shares_are_not_reported_where_a_term_is_negative() -> None:
    # At 512 tokens the cost of longformer-hf is 110 % linear term and -10 % constant.
    (line,) = growth_lines(attnprof.estimate(len=512, kernel="longformer-hf"))
    assert line == "longformer-hf: grows linearly (n), padded to multiples of 512 tokens."


def test_in_training_the_backward_pass_is_reported_as_not_counted() -> None:
    (case,) = read_cases({"len": 512, "kernel": "bert-sdpa", "mode": "training"}, "cpu")
    table = ResultTable(estimate_records([case]))
    table.add(Record(case.kernel, case.workload, "ptflops_aten_macs", 907_149_312))
    (line,) = dict(describe_findings(findings.find(table)))["ptflops coverage"]
    assert line.endswith("(forward and backward); the backward pass is not counted.")


def test_operators_that_ptflops_misses_are_reported_with_the_growth() -> None:
    table = measured(
        ptflops_pytorch_macs=times(
            bert_sdpa=[907_149_312, 1_814_298_624, 7_257_194_496],
            bert_eager=[1_312_948_224, 3_437_494_272, 33_228_324_864],
        )
    )
    lines = dict(describe_findings(findings.find(table)))["ptflops coverage"]
    assert lines == [
        (
            "bert-eager, pytorch backend: 100.6 % of the executed MACs at 4,096 tokens; the "
            "surplus is bias and elementwise operations, which are not MACs."
        ),
        (
            "bert-sdpa, pytorch backend: 22.0 % of the executed MACs at 4,096 tokens; misses 25.8 "
            "GMac: scaled_dot_product_attention is not counted. From 1,024 to 4,096 tokens its "
            "count grows as n^1.00, the executed MACs as n^1.64."
        ),
    ]


def test_a_withheld_verdict_is_reported_with_its_reason_and_no_speed_is_shown() -> None:
    reason = "not measurable now: other processes used 1.0 of 2 cores; close them"
    table = measured(time_ns=times(bert_sdpa=[1e6, 2e6, 4e6], longformer_hf=[2e6, 4e6, 5e6]))
    for row in list(table.rows):
        if row.workload.seq_len in (512, 4096) and "time_ns" in row.values:
            table.add(Record(row.kernel, row.workload, WITHHELD, 1, detail=reason))
    lines = dict(describe_findings(findings.find(table)))["Speed relative to bert-sdpa"]
    assert lines == [f"longformer-hf: at 512 and 4,096 {reason}."]
    assert any(reason in note for note in describe_notes(table))
    row = next(row for row in table.rows if row.kernel == "longformer-hf")
    assert row.verdict is None
    assert row.verdict_fields() == {}
    assert reason in row.detail
    # A later run that could measure it takes the reason back.
    table.add(Record(row.kernel, row.workload, WITHHELD, 0))
    assert row.withheld == ""


def test_without_a_reference_there_are_no_verdicts() -> None:
    table = measured(time_ns=times(longformer_hf=[2e6, 4e6, 5e6]))
    for row in list(table.rows):
        if row.kernel == "longformer-hf":
            table.add(Record(row.kernel, row.workload, WITHHELD, 1, detail="not measurable now"))
    assert "Speed relative to bert-sdpa" not in dict(describe_findings(findings.find(table)))
