"""Machine profiles: written, read back, and refused with what would be valid."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from machines import MACHINE

from attnprof.core.errors import UsageError
from attnprof.core.machine import (
    Machine,
    Rates,
    read_machine,
)

BARE = replace(
    MACHINE,
    rates=Rates(matmul_macs_per_s={}, copy_bytes_per_s=None),
    noise=None,
    kernel_samples=(),
    conditions=None,
)


@pytest.mark.parametrize("machine", [MACHINE, BARE])
def test_a_machine_profile_is_read_back_from_its_file(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    path.write_text(machine.to_json(), encoding="utf-8")
    assert read_machine(str(path)) == machine


Change = Callable[[dict[str, Any]], object]

INVALID_PROFILES: list[tuple[str, Change, str]] = [
    ("schema", lambda d: d.update(schema=2), "has schema 2, but this attnprof reads 1"),
    ("format", lambda d: d.pop("format"), "is not a machine profile"),
    ("missing", lambda d: d.pop("memory_bytes"), "memory_bytes is missing"),
    ("inner", lambda d: d["rates"].pop("copy_bytes_per_s"), "rates.copy_bytes_per_s is missing"),
    (
        "text",
        lambda d: d.update(memory_bytes="16"),
        "memory_bytes is not a whole number, 0 or more",
    ),
    ("truth", lambda d: d.update(memory_bytes=True), "memory_bytes is not a whole number"),
    ("negative", lambda d: d.update(memory_bytes=-1), "memory_bytes is not a whole number"),
    ("infinite", lambda d: d["noise"].update(single_spread=float("inf")), "noise.single_spread"),
    ("device", lambda d: d.update(device="abacus"), "device is not one of cpu, cuda"),
    ("list", lambda d: d.update(kernel_samples={}), "kernel_samples is not a list"),
    ("object", lambda d: d.update(rates=[]), "rates is not an object"),
    (
        "dtype",
        lambda d: d["rates"].update(matmul_macs_per_s={"int8": 1}),
        "rates.matmul_macs_per_s is not one of float32",
    ),
    (
        "item",
        lambda d: d["kernel_samples"][0]["sample"].update(time_ns=1.5),
        "kernel_samples[0].sample.time_ns is not a whole number",
    ),
    (
        "zero",
        lambda d: d["kernel_samples"][0]["sample"].update(executed_macs=0),
        "kernel_samples[0].sample.executed_macs is 0",
    ),
    (
        "interval",
        lambda d: d["kernel_samples"][0]["sample"].update(time_ns=1),
        "kernel_samples[0].sample.time_ns is outside its interval",
    ),
    ("rate", lambda d: d["rates"].update(copy_bytes_per_s=0), "rates.copy_bytes_per_s is 0"),
]


@pytest.mark.parametrize(
    ("change", "message"),
    [case[1:] for case in INVALID_PROFILES],
    ids=[c[0] for c in INVALID_PROFILES],
)
def test_an_invalid_machine_profile_is_refused_with_what_would_be_valid(
    change: Change, message: str, tmp_path: Path
) -> None:
    document = json.loads(MACHINE.to_json())
    change(document)
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(document))
    _assert_refused(str(path), message)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"{}", b'{"rows": []}', b"\xff\xfe", b"[" * 100_000]
)
def test_a_file_that_is_not_a_machine_profile_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    path.write_bytes(content)
    _assert_refused(str(path), "is not a machine profile")


def test_a_missing_machine_profile_is_refused(tmp_path: Path) -> None:
    _assert_refused(str(tmp_path / "none.json"), "no such file; create one with attnprof doctor")
    _assert_refused(str(tmp_path), "cannot be read (Is a directory)")


def _assert_refused(path: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_machine(path)
    assert (caught.value.argument, caught.value.value) == ("machine", path)
    assert message in caught.value.expected
    assert caught.value.expected.endswith("create one with attnprof doctor --json machine.json")
