"""Peak memory of a call: the most bytes allocated at one time above what was live before it."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, Literal

from attnprof.errors import MeasurementError

_STDERR = 2


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
