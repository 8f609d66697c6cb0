"""The audit of formulas: rows of every kernel, CSV, JSON, Markdown, a terminal of 80 columns."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from workloads import WORKLOADS

from attnprof import AttentionPattern, Workload, kernels
from attnprof.analysis.formula_audit import FormulaAudit, audit_formulas
from attnprof.core import published_formulas
from attnprof.core.workload import Case
from attnprof.report.formula_audit import render_formula_audit, render_formula_audit_markdown


def test_nothing_is_unexplained_for_any_kernel() -> None:
    cases = [Case(name, workload) for name in kernels.names() for workload in WORKLOADS]
    cases += [Case("longformer-triton", replace(w, device="cuda")) for w in WORKLOADS]
    audit = audit_formulas(cases)
    assert audit.unexplained == []
    executed = [row for row in audit.rows if row.kind == "executed"]
    assert {row.name for row in executed} == {*kernels.names()}
    for row in executed:
        kernel = kernels.find_built_in(row.name)
        assert row.macs == kernel.executed_macs(row.workload)
    assert len(executed) + len(audit.refusals) == len(cases)


@pytest.fixture(scope="module")
def odd() -> FormulaAudit:
    """Softmax over an odd number of pairs: half a MAC is left over."""
    workload = Workload(AttentionPattern.dense(3, causal=True), 5, 9, scope="layer")
    return audit_formulas([Case("bert-sdpa", workload)])


def test_csv_and_json_have_the_same_numbers(odd: FormulaAudit) -> None:
    rows = list(csv.DictReader(io.StringIO(odd.to_csv())))
    document = json.loads(odd.to_json())
    formulas = [row for row in document["rows"] if row["kind"] == "formula"]
    assert [row["name"] for row in formulas] == list(published_formulas.names())
    for row, listed in zip(document["rows"], rows, strict=True):
        assert row["macs"] == float(listed["macs"])
        assert row["residual_macs"] == 0
        explained = row["useful_macs"] + sum(row["differences"].values())
        assert row["macs"] == explained
    (chinchilla,) = (row for row in formulas if row["name"] == "chinchilla")
    assert chinchilla["macs"] % 1 == 0.5
    assert chinchilla["differences"]["softmax counted"] == 1.5 * 3 * 5**2


def test_a_terminal_of_80_columns_shows_every_digit(odd: FormulaAudit) -> None:
    text = render_formula_audit(odd, 80).plain
    assert max(map(len, text.splitlines())) <= 80
    assert "+112.5" in text
    words = " ".join(text.split())
    for name in published_formulas.names():
        formula = published_formulas.find(name)
        assert f"  {formula.title} " in text
        assert formula.source in words


def test_markdown_has_the_differences_in_words(odd: FormulaAudit) -> None:
    text = render_formula_audit_markdown(odd)
    assert "causal attention counted in full +" in text
    assert text.count("| Chinchilla |") == 1


def test_an_unexplained_mac_is_shown(odd: FormulaAudit) -> None:
    audit = FormulaAudit([*odd.rows])
    audit.rows[-1] = type(audit.rows[-1])(
        odd.rows[-1].workload, "formula", "palm", odd.rows[-1].macs + 1, odd.rows[-1].useful_macs
    )
    assert len(audit.unexplained) == 1
    assert "unexplained" in render_formula_audit(audit, 80).plain
    assert "unexplained" in render_formula_audit_markdown(audit)
