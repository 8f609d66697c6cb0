"""The benchmark for GPUs, run on the CPU at sizes that only show that it runs."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "examples" / "benchmarks"
HAS_TRITON = importlib.util.find_spec("triton") is not None


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("gpu", FOLDER / "gpu.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["gpu"] = module  # which its dataclasses look up
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


def test_a_part_runs_in_its_own_process_and_is_printed_and_saved(
    gpu: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gpu.json"
    run = gpu.Run(gpu.ON_CPU, path, time.time() + 300)
    assert run.part("window", 240, "--len", "48")
    records = json.loads(path.read_text())["records"]
    cases = {(one["dilation"], one["globals"], one["pass"]) for one in records}
    assert len(cases) == len(records) == 2 * 2
    for record in records:
        assert record["time_ns"]["tiles"] > 0
        assert record["time_ns"]["dense"] > 0
        assert record["peak_bytes"]["tiles"] > 0
        # FlexAttention has no backward pass on CPU; Triton's interpreter runs the Triton kernel.
        assert record["failed"].keys() == (set() if record["pass"] == "forward" else {"flex"})
        assert ("triton" in record["time_ns"]) == HAS_TRITON
        assert ("triton" in record["difference"]) == HAS_TRITON
        assert all(value < 1e-5 for value in record["difference"].values())
    run.end_table()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[1].split()[4:8] == ["tiles", "triton", "flex", "dense"]
    assert [line.split()[:4] for line in lines[2:4]] == [
        ["48", "2", "0", "forward"],
        ["48", "2", "0", "both"],
    ]
    (reason,) = [line for line in lines if "NotImplementedError" in line]
    assert reason.startswith("flex failed in 2 of the cases: NotImplementedError")


def test_a_part_that_hangs_is_killed_and_is_a_line(
    gpu: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = [sys.executable, "-c", "print('begun', flush=True); import time; time.sleep(60)"]
    begun = time.monotonic()
    assert list(gpu.lines_of(hanging, 1.0))[-1] == -9
    assert time.monotonic() - begun < 50
    monkeypatch.setattr(gpu, "lines_of", lambda command, seconds: iter(["text", -9]))
    run = gpu.Run(gpu.ON_CPU, None, time.time() + 300)
    assert not run.part("compare", 1)
    assert "compare; all failed: its process ended with -9" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so(
    gpu: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    assert gpu.main() == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line == "torch finds no CUDA device; --cpu-check runs this on the CPU"
