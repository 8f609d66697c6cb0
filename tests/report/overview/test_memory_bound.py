"""The note on kernels that memory limits, and not products."""

from __future__ import annotations

from machines import MACHINE

import attnprof
from attnprof.analysis.utilisation import with_rates_of
from attnprof.report.overview import WIDTH, overview_of


def notes(**options: object) -> list[str]:
    table = attnprof.estimate(kernel="bert-sdpa", **options)  # type: ignore[arg-type]
    known = attnprof.ResultTable(with_rates_of(table.records, MACHINE))
    return [note for note in overview_of(known, WIDTH).notes if "memory" in note]


def test_decoding_is_bound_by_memory() -> None:
    assert notes(len=[1024, 4096], mode="decode", causal=True) == [
        "bound by memory: bert-sdpa, 0.50 FLOP/B; this machine's balance is 7.54"
    ]


def test_long_sequences_are_not() -> None:
    assert notes(len=[1024, 4096]) == []
