"""Planted regressions: each is caught with the right quantity, module and cause."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

import pytest
from guard_project import Project, contract, terms

from attnprof.guard.reports.text import render
from attnprof.isolation.workers import Workers

LENGTHS = [256, 512, 1024, 2048]
CORE = "layers.0..1.attention.core"

PLANTED = {
    "sdpa to eager": (
        ("fused", "eager"),
        (),
        ["growth.peak_bytes", "peak_bytes"],
        "layers.1.attention.core aten.bmm",
        (
            rf"fused attention was replaced by a materialised product: .* in {CORE} is now "
            r"aten\.bmm, which materialises the n × n scores$"
        ),
    ),
    "window dropped": (
        ("banded", "fused"),
        (),
        ["growth.macs", "macs"],
        f"{CORE} aten._scaled_dot_product",
        rf"a dense product over all pairs replaced banded attention: .* in {CORE}$",
    ),
    "window of products dropped": (
        ("blocked", "fused"),
        (),
        ["growth.macs", "macs"],
        f"{CORE} aten._scaled_dot_product",
        rf"a dense product over all pairs replaced a product linear in length: .* in {CORE}$",
    ),
    "window doubled": (
        ("banded", "wide"),
        (),
        ["macs"],
        f"{CORE} attnprof.banded_attention",
        r"executes 1\.66x the locked MACs at every length: a different window",
    ),
    "window of products doubled": (
        ("blocked", "wide_blocked"),
        (),
        ["macs", "peak_bytes"],
        f"{CORE}.attend aten.bmm",
        r"executes 2x the locked MACs at every length: a different window",
    ),
    "dilation lost": (
        ("dilated", "banded"),
        ('macs = "±0%"',),
        ["macs"],
        f"{CORE} attnprof.banded_attention",
        r"executes 1\.01x the locked MACs at every length: .* dilation",
    ),
    "mask instead of band": (
        ("banded", "masked"),
        (),
        ["growth.macs", "macs", "growth.peak_bytes", "peak_bytes"],
        f"{CORE} aten._scaled_dot_product",
        rf"all pairs replaced banded attention: .* in {CORE}; masked pairs are still multiplied$",
    ),
    "a quadratic bias": (
        ("linear", "biased"),
        (),
        ["growth.macs", "macs", "growth.peak_bytes", "peak_bytes"],
        f"{CORE} aten.mm",
        rf"new quadratic term: 4 MACs · n², from aten\.mm in {CORE}; it dominates .* from 25,601 t",
    ),
    "a hidden buffer of all pairs": (
        ("linear", "hidden_buffer"),
        (),
        ["growth.peak_bytes", "peak_bytes"],
        "layers.1.attention.core aten.tril bool",
        (
            r"a mask or bias over all pairs: aten\.ones, aten\.tril in layers\.1\.attention\.core "
            r"takes 2 B · n² at the peak, and that module has no n × n product$"
        ),
    ),
    "an extra projection": (
        ("linear", "gated"),
        (),
        ["macs", "params"],
        "layers.0..1.attention.gate aten.addmm",
        r"new modules with parameters: layers\.0\.\.1\.attention\.gate",
    ),
    "a head size changed": (
        ("linear", "wide_heads"),
        (),
        ["macs", "params", "peak_bytes"],
        f"{CORE} aten.bmm",
        r"executes 4x the locked MACs at every length: .* head size",
    ),
    "global tokens that grow": (
        ("banded", "all_global"),
        (),
        ["growth.macs", "macs"],
        f"{CORE} aten._scaled_dot_product",
        rf"global tokens grows with n: .* in {CORE} attends to all keys .* an unchanged band$",
    ),
    "a loop that recomputes": (
        ("linear", "recomputed"),
        (),
        ["growth.macs", "macs"],
        f"{CORE} aten.bmm",
        rf"{CORE} aten\.bmm runs 64 times \(was 2\): a loop that recomputes",
    ),
    "float32 instead of bfloat16": (
        ("linear", "upcast"),
        ('dtype = "bfloat16"',),
        ["peak_bytes"],
        "layers.1 aten._to_copy float32",
        r"tensors at the peak are float32 \(were bfloat16\): layers\.1 aten\._to_copy",
    ),
}


Locked = Callable[[str, tuple[str, ...]], Project]
"""Makes a project with a lock of the named encoder, or takes the one that it has made."""


def net(*lines: str) -> str:
    return contract("net", "subject:build", LENGTHS, 'input = "x=batch,len,64"', *lines)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, guard_workers: Workers) -> Locked:
    @cache
    def make(encoder: str, lines: tuple[str, ...]) -> Project:
        project = Project(tmp_path_factory.mktemp(encoder), guard_workers)
        project.says(net(*lines))
        project.encoder(encoder)
        project.init()
        return project

    return make


@pytest.mark.parametrize(
    ("encoder", "lines"), sorted({(change[0], lines) for change, lines, *_ in PLANTED.values()})
)
def test_an_unchanged_encoder_keeps_its_contract(
    locked: Locked, encoder: str, lines: tuple[str, ...]
) -> None:
    project = locked(encoder, lines)
    project.encoder(encoder)
    unchanged = project.check()
    assert unchanged.exit_code == 0, render(unchanged)


@pytest.mark.parametrize(
    ("change", "lines", "broken", "part", "cause"), PLANTED.values(), ids=PLANTED.keys()
)
def test_planted_regression_is_caught_with_its_module_and_its_cause(
    locked: Locked,
    change: tuple[str, str],
    lines: tuple[str, ...],
    broken: list[str],
    part: str,
    cause: str,
) -> None:
    project = locked(change[0], lines)
    project.encoder(change[1])
    check = project.check()
    (result,) = check.results
    assert check.exit_code == 1
    assert terms(result) == broken
    parts = [where for breach in result.breaches for where in breach.where]
    assert any(where.startswith(part) for where in parts), parts
    assert any(re.search(cause, sentence) for sentence in result.causes), result.causes
    assert {breach.mend for breach in result.breaches} == {("attnprof guard update net",)}


def test_the_command_that_accepts_a_change_does_so(project: Project) -> None:
    project.says(net())
    project.encoder("linear")
    project.init()
    project.encoder("gated")
    project.update("net")
    assert project.check().exit_code == 0


def test_an_improvement_is_noted_with_the_command_that_locks_it_in(project: Project) -> None:
    project.says(net())
    project.encoder("eager")
    project.init()
    project.encoder("fused")
    check = project.check()
    (result,) = check.results
    assert check.exit_code == 0
    assert result.status == "kept"
    (note,) = result.notes
    assert note.startswith("peak bytes fell by up to 96 %, at 2,048 tokens: 130 MiB → 5.00 MiB")
    assert note.endswith("; to lock it in: attnprof guard update net")


def test_a_budget_exceeded_without_a_change_has_no_cause(project: Project) -> None:
    """The rules report nothing when only a limit is exceeded."""
    project.says(net('max.peak_bytes = "1 MiB"'))
    project.encoder("fused")
    project.init()
    (result,) = project.check().results
    assert terms(result) == ["max.peak_bytes"]
    assert [step.seq_len for step in result.breaches[0].steps] == [512, 1024, 2048]
    assert result.causes == ()
