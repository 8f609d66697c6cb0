"""Peak memory of a call: the most bytes allocated at one time, above what was live before it."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from attnprof.core.errors import MeasurementError

_STDERR = 2
_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): the peak resident set becomes the present one


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """The peak memory of one call, by different measures.

    Attributes:
        peak_bytes: most bytes allocated at one time, above what was live before.
        resident_peak_bytes: peak resident size of the process during the first call, above its
            size before; None if the system does not report it, and on CUDA.
        reserved_peak_bytes: total reserved by CUDA's caching allocator; None on CPU.
    """

    peak_bytes: int
    resident_peak_bytes: int | None = None
    reserved_peak_bytes: int | None = None


def measure_peak_memory(run: Callable[[], object], device: Literal["cpu", "cuda"]) -> PeakMemory:
    """The peaks of a call that has not run yet; it is run twice."""
    if device == "cuda":
        import torch

        peak_bytes = _cuda_peak_bytes(run)
        return PeakMemory(peak_bytes, reserved_peak_bytes=torch.cuda.max_memory_reserved())
    resident_peak_bytes = _resident_peak_bytes(run)
    return PeakMemory(_cpu_peak_bytes(run), resident_peak_bytes)


def measure_peak_bytes(run: Callable[[], object], device: Literal["cpu", "cuda"]) -> int:
    """The peak of one call in bytes; its output is included, its inputs are not."""
    return _cuda_peak_bytes(run) if device == "cuda" else _cpu_peak_bytes(run)


def _cpu_peak_bytes(run: Callable[[], object]) -> int:
    """The peak from the events of the allocator, so that buffers inside a kernel are included.

    Raises:
        MeasurementError: when torch's profiler reports no allocations.
    """
    from torch.profiler import ProfilerActivity, profile

    with (
        _quiet_stderr(),
        profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler,
    ):
        run()
    kineto: Any = profiler.profiler
    events = [event for event in kineto.kineto_results.events() if event.name() == "[memory]"]
    if not events:
        raise MeasurementError("torch's profiler reported no allocation")
    events.sort(key=lambda event: event.start_ns())
    return max(0, *accumulate(int(event.nbytes()) for event in events))


def _resident_peak_bytes(run: Callable[[], object]) -> int | None:
    """Growth of the resident set by Linux's count: whole pages, of the whole process."""
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
        before = _status_bytes("VmRSS")
    except (OSError, KeyError):
        run()
        return None
    run()
    return max(0, _status_bytes("VmHWM") - before)


def _status_bytes(name: str) -> int:
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return 1024 * int(lines[name].split()[0])


def _cuda_peak_bytes(run: Callable[[], object]) -> int:
    """The peak by the caching allocator's statistics, after a first call that loads libraries."""
    import torch

    run()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


@contextmanager
def _quiet_stderr() -> Generator[None]:
    """Redirect file descriptor 2 to nowhere: torch's profiler writes `USDT:` lines to it."""
    saved = os.dup(_STDERR)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, _STDERR)
    try:
        yield
    finally:
        os.dup2(saved, _STDERR)
        os.close(saved)
        os.close(null)
