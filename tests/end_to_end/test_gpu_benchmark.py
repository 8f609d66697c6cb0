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
    assert run.part("window", 240, "--len", "64")
    records = json.loads(path.read_text())["records"]
    cases = {(one["dilation"], one["globals"], one["pass"]) for one in records}
    assert len(cases) == len(records) == 2 * 2 * 2
    for record in records:
        assert record["time_ns"]["tiles"] > 0
        assert record["time_ns"]["dense"] > 0
        assert record["peak_bytes"]["tiles"] > 0
        # FlexAttention has no backward pass on CPU, and the Triton kernel needs a GPU.
        failed = {"triton"} if record["pass"] == "forward" else {"flex", "triton"}
        assert record["failed"].keys() == failed
        assert all(value < 1e-5 for value in record["difference"].values())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(records)
    assert "n 64 dilation 1 globals 0 forward; " in lines[0]
    assert "triton failed: " in lines[0]


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
