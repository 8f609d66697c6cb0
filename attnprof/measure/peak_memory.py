"""Peak memory of a call: the most bytes allocated at one time above what was live before it."""

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
    """The most memory that one call takes, as several look at it.

    Attributes:
        peak_bytes: allocated at one time, above what was live before.
        resident_peak_bytes: of the process, above what it had before, when the call first ran;
            None where the system does not tell, and on CUDA.
        reserved_peak_bytes: of CUDA's caching allocator, in all; None on CPU.
    """

    peak_bytes: int
    resident_peak_bytes: int | None = None
    reserved_peak_bytes: int | None = None


def measure_peak_memory(run: Callable[[], object], device: Literal["cpu", "cuda"]) -> PeakMemory:
    """The peaks of a call that has not run yet; it runs twice."""
    if device == "cuda":
        import torch

        peak_bytes = _cuda_peak_bytes(run)
        return PeakMemory(peak_bytes, reserved_peak_bytes=torch.cuda.max_memory_reserved())
    resident_peak_bytes = _resident_peak_bytes(run)
    return PeakMemory(_cpu_peak_bytes(run), resident_peak_bytes)


def measure_peak_bytes(run: Callable[[], object], device: Literal["cpu", "cuda"]) -> int:
    """The peak of one call on a device; the output of the call counts, its inputs do not."""
    return _cuda_peak_bytes(run) if device == "cuda" else _cpu_peak_bytes(run)


def _cpu_peak_bytes(run: Callable[[], object]) -> int:
    """From the allocator's own events, so that a kernel's inner buffers count.

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
    """What Linux counts for the process: pages, not bytes, and of everything that runs in it."""
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
    """From the caching allocator's statistics, after a first call that loads libraries."""
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
    """File descriptor 2 leads nowhere meanwhile: torch's profiler writes `USDT:` lines to it."""
    kept = os.dup(_STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDERR)
    try:
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
        os.close(nowhere)
