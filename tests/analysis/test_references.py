"""What kernels are compared with, with and without grouped heads, and which are by default."""

from __future__ import annotations

from typing import Any

import pytest

from attnprof.analysis.findings import find
from attnprof.analysis.series import find_reference, series_of
from attnprof.core.records import REFERENCE, WINDOWED_REFERENCE, is_reference_of
from attnprof.core.result_table import ResultTable
from attnprof.core.workload import Case
from attnprof.measure.static_costs import estimate_records
from attnprof.measure.timing import _ratios
from attnprof.options import read_cases

GROUPED: dict[str, Any] = {"causal": True, "kv_heads": 2, "hidden_size": 64, "num_heads": 4}


def cases_of(**options: Any) -> tuple[Case, ...]:
    return read_cases({"len": [64, 4096], "window": 32, **options}, "cpu")  # type: ignore[typeddict-item]


def table_of(**options: Any) -> ResultTable:
    return ResultTable(estimate_records(cases_of(**options)))


def reference_of(**options: Any) -> str:
    reference = find_reference(series_of(table_of(**options)))
    return reference.rows[0].kernel if reference else ""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, REFERENCE),
        ({"causal": True}, REFERENCE),
        ({"kernel": ["bert-eager", "longformer-banded"]}, "bert-eager"),
        (GROUPED, WINDOWED_REFERENCE),
        ({**GROUPED, "kernel": [REFERENCE, WINDOWED_REFERENCE]}, WINDOWED_REFERENCE),
        ({**GROUPED, "kernel": [REFERENCE, "longformer-banded"]}, ""),
    ],
)
def test_the_reference_is_a_dense_kernel_that_can_run_or_the_model_as_it_is(
    options: dict[str, Any], expected: str
) -> None:
    assert reference_of(**options) == expected


def test_a_window_is_compared_with_the_mask_of_the_same_window() -> None:
    found = find(table_of(**GROUPED)).crossovers
    pairs = {(finding.label, finding.reference) for finding in found}
    assert ("longformer-banded", WINDOWED_REFERENCE) in pairs
    assert all(finding.label != WINDOWED_REFERENCE for finding in found)
    dense = find(table_of(**{**GROUPED, "window": "full"})).crossovers
    assert not dense


def test_ratios_are_of_the_same_pattern_and_there_is_no_speedup() -> None:
    banded, other, dense = cases_of(
        **GROUPED, len=64, kernel=["longformer-banded", WINDOWED_REFERENCE, "mistral-eager"]
    )
    times = {banded: [10, 10, 10], other: [20, 20, 20], dense: [40, 40, 40]}
    ratios = dict(_ratios(banded, times))
    assert ratios[f"time_ratio:{WINDOWED_REFERENCE}"] == pytest.approx(0.5)
    assert set(ratios) == {f"time_ratio{end}:{WINDOWED_REFERENCE}" for end in ("", "_low", "_high")}
    wider = cases_of(**{**GROUPED, "window": 48}, len=64, kernel=WINDOWED_REFERENCE)[0]
    assert not is_reference_of(wider, banded.workload)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "bert-eager bert-sdpa longformer-hf longformer-banded"),
        ({"causal": True}, "bert-eager bert-sdpa mistral-sdpa longformer-banded"),
        ({"model": "mistral-7b"}, "mistral-eager mistral-sdpa longformer-banded"),
        ({"model": "qwen3", "window": None}, "mistral-eager mistral-sdpa"),
        (
            {"model": "modernbert-base", "window": None},
            "bert-eager bert-sdpa longformer-masked longformer-banded",
        ),
    ],
)
def test_default_kernels_answer_what_a_window_saves(options: dict[str, Any], expected: str) -> None:
    names = list(dict.fromkeys(case.kernel for case in cases_of(**options)))
    assert names == expected.split()
    assert {row.status for row in table_of(**options).rows} == {"ok"}


def test_layers_that_differ_are_whole_where_attention_alone_cannot_be_stacked() -> None:
    gemma = cases_of(model="gemma-3", window=None)[0].workload
    assert (gemma.scope, len(gemma.layers)) == ("layer", 34)
    modernbert = cases_of(model="modernbert-base", window=None)[0].workload
    assert (modernbert.scope, len(modernbert.layers)) == ("attention", 22)
