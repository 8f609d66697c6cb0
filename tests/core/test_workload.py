"""Workloads and cases as values."""

from __future__ import annotations

from attnprof.core.workload import Case
from attnprof.options import read_cases


def test_case_is_hashable_by_value() -> None:
    cases = read_cases({"len": 64, "window": 16}, "cpu")
    assert Case(cases[0].kernel, cases[0].workload) in set(cases)
