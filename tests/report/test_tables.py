"""Tables in the terminal and in Markdown, of literal results."""

from __future__ import annotations

from measured_tables import measured, rendered, times

import attnprof
from attnprof import ResultTable
from attnprof.analysis.series import series_of
from attnprof.core.records import CASE, Record
from attnprof.options import read_cases
from attnprof.report.columns import ESTIMATE_COLUMNS
from attnprof.report.markdown import render_markdown
from attnprof.report.overview import overview_of
from attnprof.report.setting import describe_setting
from attnprof.report.summary import describe_notes
from attnprof.report.terminal_table import render_table


def test_labels_have_only_what_differs() -> None:
    table = attnprof.estimate(
        len=[512, 1024], window=[64, 128], kernel=["bert-sdpa", "longformer-hf"]
    )
    assert [series.label for series in series_of(table)] == [
        "bert-sdpa",
        "longformer-hf w=64",
        "longformer-hf w=128",
    ]
    assert describe_setting(table).endswith("inference; dilation 1, global tokens 1")


def test_scopes_are_named_and_cost_what_layers_have() -> None:
    n, width, window = 4096, 768, 512
    rest = 9 * n * width**2
    dense = 3 * n * width**2 + 2 * n**2 * width + rest
    chunks = width * (7 * window * n // 2 - window**2)
    sparse = 5 * n * width**2 + width**2 + chunks + 4 * n * width + rest
    for scope, layers, text in (("layer", 1, "whole layer"), ("stack", 12, "12 whole layers")):
        table = attnprof.estimate(len=n, kernel=["bert-sdpa", "longformer-hf"], scope=scope)
        assert describe_setting(table).startswith(f"{text}, hidden 768, 12 heads")
        assert [row.integer("executed_macs") for row in table.rows] == [
            layers * dense,
            layers * sparse,
        ]
        assert "\nEncoder: " in render_markdown(table, ESTIMATE_COLUMNS)
        assert {row.detail for row in table.rows} == {text}


def test_a_stack_has_the_models_layers_or_those_that_the_window_names() -> None:
    def layers(**options: str) -> set[int]:
        cases = read_cases({"len": 512, **options}, "cpu")  # type: ignore[typeddict-item]
        assert {case.workload.scope for case in cases} == {"layer"}
        return {len(case.workload.layers) for case in cases}

    assert layers(scope="layer") == {1}
    assert layers(scope="stack") == {12}
    assert layers(scope="stack", model="bert-large") == {24}
    assert layers(scope="stack", window="32:64:128") == {3}
    assert layers(scope="layer", window="32:64:128") == {3}
    assert layers(scope="layer", model="longformer-char-lm") == {12}


def test_scopes_in_one_table_are_set_apart() -> None:
    table = ResultTable(
        record
        for scope in ("attention", "layer")
        for record in attnprof.estimate(len=512, kernel="bert-sdpa", scope=scope).records
    )
    assert [series.label for series in series_of(table)] == [
        "bert-sdpa scope=attention",
        "bert-sdpa scope=layer",
    ]


def test_long_lists_of_positions_are_shortened_to_their_number() -> None:
    positions = "@" + ":".join(str(2 * index) for index in range(100))
    table = attnprof.estimate(len=512, global_tokens=[1, positions], kernel="longformer-hf")
    assert [series.label for series in series_of(table)] == [
        "longformer-hf g=1",
        "longformer-hf g=100 positions",
    ]
    alone = attnprof.estimate(len=512, global_tokens=positions, kernel="longformer-hf")
    assert describe_setting(alone).endswith("global tokens 100 positions")


def test_notes_give_a_reason_once_for_all_lengths() -> None:
    table = attnprof.estimate(len=[512, 1024], dilation=2, kernel="longformer-hf")
    assert describe_notes(table) == [
        "longformer-hf at 512, 1,024: unsupported: transformers' module has no dilation"
    ]


def test_the_default_table_fits_eighty_columns_uncut() -> None:
    table = measured(
        ptflops_pytorch_macs=times(bert_eager=[1, 2, 33_228_324_864], longformer_hf=[1, 2, 3]),
        peak_bytes=times(bert_eager=[1, 2, 1_648_361_484]),
        time_ns=times(bert_eager=[1, 2, 2_630_850_428]),
    )
    text = rendered(table, 80)
    assert "…" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    for cell in ("33.02 G", "33.23 G", "100.6 %", "1.54 GiB", "2.63 s"):
        assert cell in text


def test_rows_that_failed_show_their_status_in_the_place_of_time() -> None:
    case = read_cases({"len": 64, "kernel": "bert-sdpa"}, "cpu")[0]
    table = ResultTable([Record(case.kernel, case.workload, CASE, None, "oom", "too much")])
    assert "oom" in rendered(table, 80)


def test_columns_without_any_value_are_left_out() -> None:
    text = rendered(measured(), 200)
    assert "executed" in text
    assert "aten" not in text
    assert "time" not in text


def test_markdown_is_a_table_with_findings() -> None:
    text = render_markdown(measured(), ESTIMATE_COLUMNS)
    _, _, details = text.partition("<details>")
    table = [line for line in details.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 9
    assert len({line.count("|") for line in table}) == 1
    assert "| 4,096 | longformer-hf | 15.22 G | 17.53 G |" in text
    assert "**Crossover lengths**" in text


def test_fewer_macs_than_useful_have_the_mark_of_the_note_at_every_length() -> None:
    table = attnprof.estimate(kernel=["bert-sdpa", "longformer-banded"], len=[512, 4096])
    text = render_table(table, ESTIMATE_COLUMNS, 80).plain
    lines = [line for line in text.splitlines() if "longformer-banded" in line]
    assert ["0.73x*" in lines[0], "0.70x*" in lines[1]] == [True, True]
    assert "* 0.70x to 0.73x the useful MACs" in " ".join(overview_of(table).notes)
    assert all("*" not in line for line in text.splitlines() if "bert-sdpa" in line)
