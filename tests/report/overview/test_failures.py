"""Cases without a result: what the overview says of them, for literal results."""

from __future__ import annotations

import attnprof
from attnprof import ResultTable
from attnprof.core.records import CASE, Record, Status
from attnprof.report.overview import overview_of


def closed(kernel: str, status: Status, *reasons: str) -> ResultTable:
    """A kernel at as many lengths as there are reasons, each closed for one of them."""
    lengths = [64 * 2**index for index in range(len(reasons))]
    table = attnprof.estimate(kernel=kernel, len=lengths)
    for row, reason in zip(list(table.rows), reasons, strict=True):
        table.add(Record(kernel, row.workload, CASE, None, status, reason))
    return table


def test_a_wrong_kernel_has_no_macs() -> None:
    by_length = overview_of(closed("longformer-hf", "wrong", "off by 1.3", "off by 1.3")).tables[0]
    assert [cell.strip() for cell in by_length.rows[0][1:]] == ["wrong", "wrong"]
    assert by_length.best in ((), (frozenset(),))


def test_reasons_that_differ_by_length_are_one_note() -> None:
    reasons = "off by 1.3; 64 of 64 vectors are wrong", "off by 1.3; 128 of 128 vectors are wrong"
    overview = overview_of(closed("longformer-masked", "wrong", *reasons))
    assert overview.notes == (
        "longformer-masked: wrong: at 64 off by 1.3; 64 of 64 vectors are wrong",
    )


def test_a_reason_says_what_is_available_within_its_two_lines() -> None:
    reason = "needs 3.66 TiB (4029055509504 bytes), 20.6 GiB (22147483648 bytes) available"
    overview = overview_of(closed("bert-eager", "skipped", reason))
    assert overview.verdict[0] == "No kernel has a result here; the reasons are below."
    assert overview.notes == ("bert-eager: skipped: needs 3.66 TiB, 20.6 GiB available",)


GAPS = {
    ("bert-sdpa", "executed_macs"): "executed_macs is empty: no MAC formula for own.scores",
    ("bert-sdpa", "predicted_peak_bytes"): "predicted_peak_bytes is empty: neither",
    ("longformer-hf", "predicted_peak_bytes"): "predicted_peak_bytes is empty: it does not run",
}


def test_without_any_result_the_reasons_are_what_is_left() -> None:
    overview = overview_of(attnprof.estimate(len=512, kernel="longformer-hf", dilation=2))
    assert overview.verdict == ("No kernel has a result here; the reasons are below.",)
    assert overview.notes == ("longformer-hf: unsupported: transformers' module has no dilation",)
    assert [table.heading for table in overview.tables] == ["MACs"]


def test_cells_without_a_number_say_why_although_the_kernel_ran() -> None:
    table = attnprof.estimate(len=[512, 1024], kernel=["bert-sdpa", "longformer-hf"])
    lacking = ResultTable(
        Record(record.kernel, record.workload, record.quantity, None, "error", detail)
        if (detail := GAPS.get((record.kernel, record.quantity), ""))
        else record
        for record in table.records
    )
    assert overview_of(lacking, 160).notes == (
        "bert-sdpa: no MAC formula for own.scores",
        "longformer-hf: it does not run",
    )
