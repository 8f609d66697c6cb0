"""Regressions that were planted: each is caught, with the right quantity, place and cause."""

from __future__ import annotations

import re

import pytest
from guard_project import Project, contract, terms

from attnprof.guard.reports.text import render

LENGTHS = [256, 512, 1024, 2048]
CORE = "layers.0..1.attention.core"

PLANTED = {
    "sdpa to eager": (
        ("fused", "eager"),
        (),
        ["growth.peak_bytes", "peak_bytes"],
        "layers.1.attention.core aten.bmm",
        rf"fused attention was replaced by a materialised product: .* in {CORE} is now aten.bmm",
    ),
    "window dropped": (
        ("banded", "fused"),
        (),
        ["growth.macs", "macs"],
        f"{CORE} aten._scaled_dot_product",
        rf"a dense product of all pairs stands where a band was: .* in {CORE}$",
    ),
    "window of products dropped": (
        ("blocked", "fused"),
        (),
        ["growth.macs", "macs"],
        f"{CORE} aten._scaled_dot_product",
        rf"a dense product of all pairs stands where one linear in the length was: .* in {CORE}$",
    ),
    "window doubled": (
        ("banded", "wide"),
        (),
        ["macs"],
        f"{CORE} attnprof.banded_attention",
        r"multiplies 1\.66 times what it did, at every length alike: another window",
    ),
    "window of products doubled": (
        ("blocked", "wide_blocked"),
        (),
        ["macs", "peak_bytes"],
        f"{CORE}.attend aten.bmm",
        r"multiplies 2 times what it did, at every length alike: another window",
    ),
    "dilation lost": (
        ("dilated", "banded"),
        ('macs = "±0%"',),
        ["macs"],
        f"{CORE} attnprof.banded_attention",
        r"multiplies 1\.01 times what it did, .*other dilations",
    ),
    "mask instead of band": (
        ("banded", "masked"),
        (),
        ["growth.macs", "macs", "growth.peak_bytes", "peak_bytes"],
        f"{CORE} aten._scaled_dot_product",
        rf"all pairs stands where a band was: .* in {CORE}; under a mask, it multiplies what",
    ),
    "a quadratic bias": (
        ("linear", "biased"),
        (),
        ["growth.macs", "macs", "growth.peak_bytes", "peak_bytes"],
        f"{CORE} aten.mm",
        rf"new quadratic term, 4 MACs · n² of aten\.mm in {CORE}; it overtakes .* at 25,601 t",
    ),
    "a hidden buffer of all pairs": (
        ("linear", "hidden_buffer"),
        (),
        ["growth.peak_bytes", "peak_bytes"],
        "layers.1.attention.core aten.tril bool",
        r"aten\.ones, aten\.tril in layers\.1\.attention\.core holds n × n .* 2 B · n², and mul",
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
        r"multiplies 4 times what it did, .* heads of another size",
    ),
    "global tokens that grow": (
        ("banded", "all_global"),
        (),
        ["growth.macs", "macs"],
        f"{CORE} aten._scaled_dot_product",
        rf"the band is as it was, and .* in {CORE} reads all keys from more .* that grow with n",
    ),
    "a loop that recomputes": (
        ("linear", "recomputed"),
        (),
        ["growth.macs", "macs"],
        f"{CORE} aten.bmm",
        rf"{CORE} aten\.bmm runs 64 times where it ran 2: a loop that computes anew",
    ),
    "float32 instead of bfloat16": (
        ("linear", "upcast"),
        ('dtype = "bfloat16"',),
        ["peak_bytes"],
        "layers.1 aten._to_copy float32",
        r"tensors at the peak are float32 where they were bfloat16: layers\.1 aten\._to_copy",
    ),
}


@pytest.mark.parametrize(
    ("change", "lines", "broken", "place", "cause"), PLANTED.values(), ids=PLANTED.keys()
)
def test_planted_regression_is_caught_with_its_place_and_its_cause(
    project: Project,
    change: tuple[str, str],
    lines: tuple[str, ...],
    broken: list[str],
    place: str,
    cause: str,
) -> None:
    project.says(contract("net", "subject:build", LENGTHS, 'input = "x=batch,len,64"', *lines))
    project.encoder(change[0])
    project.init()
    unchanged = project.check()
    assert unchanged.exit_code == 0, render(unchanged)
    project.encoder(change[1])
    check = project.check()
    (result,) = check.results
    assert check.exit_code == 1
    assert terms(result) == broken
    places = [where for breach in result.breaches for where in breach.where]
    assert any(where.startswith(place) for where in places), places
    assert any(re.search(cause, said) for said in result.causes), result.causes
    assert {breach.mend for breach in result.breaches} == {("attnprof guard update net",)}
    # What accepts it does so: afterwards it is kept.
    project.update("net")
    assert project.check().exit_code == 0


def test_the_way_back_is_an_improvement_that_says_how_to_hold_on_to_it(project: Project) -> None:
    project.says(contract("net", "subject:build", LENGTHS, 'input = "x=batch,len,64"'))
    project.encoder("eager")
    project.init()
    project.encoder("fused")
    check = project.check()
    (result,) = check.results
    assert check.exit_code == 0
    assert result.status == "kept"
    (note,) = result.notes
    assert note.startswith("peak bytes fell by up to 96 %, at 2,048 tokens: 130 MiB → 5.00 MiB")
    assert note.endswith("attnprof guard update net")


def test_what_is_no_change_has_no_cause(project: Project) -> None:
    """The rules are silent where nothing but a limit is passed."""
    line = 'max.peak_bytes = "1 MiB"'
    project.says(contract("net", "subject:build", LENGTHS, 'input = "x=batch,len,64"', line))
    project.encoder("fused")
    project.init()
    (result,) = project.check().results
    assert terms(result) == ["max.peak_bytes"]
    assert [step.seq_len for step in result.breaches[0].steps] == [512, 1024, 2048]
    assert result.causes == ()
