"""The measurements of `attnprof doctor`, each to be run in a worker process of its own.

Each function takes the settings first and its time limit in seconds last.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from attnprof import kernels
from attnprof.core.errors import MeasurementError, UsageError
from attnprof.core.intervals import median_interval
from attnprof.core.machine import Conditions, Noise, Sample
from attnprof.core.workload import Case, Device, DType
from attnprof.isolation.system_memory import available_bytes
from attnprof.measure import environment, system_load, throughput, worker_tasks
from attnprof.measure.disturbance import Timed, surroundings_here
from attnprof.measure.environment import Environment
from attnprof.measure.feasibility import feasibility

MAX_ROUNDS = 30
"""More rounds add little information about one length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """How a machine is profiled.

    Attributes:
        device: `auto`, `cpu` or `cuda`; `auto` is resolved by `probe_environment`.
        threads: that torch computes with; None for torch's default.
        max_seconds: time limit for all kernels together.
    """

    device: str = "auto"
    threads: int | None = None
    max_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What was measured, or why it was not.

    Attributes:
        value: a rate, or the times of a kernel; None if it was not measured.
        reason: why it was not measured; empty if it was.
        cores_used_by_others: cores that other processes kept busy meanwhile.
        is_disturbed: whether too few undisturbed rounds are left.
    """

    value: int | Sample | None = None
    reason: str = ""
    cores_used_by_others: float = 0.0
    is_disturbed: bool = False


def probe_environment(settings: ProbeSettings) -> tuple[Device, Environment, int, int] | None:
    """The device, its environment, free memory and logical cores; None without such a device."""
    _set_threads(settings)
    try:
        device = environment.resolve_device(settings.device)
    except UsageError:
        return None
    cores = os.cpu_count() or 1
    return device, environment.capture(), available_bytes(device), cores


def matmul_rate(settings: ProbeSettings, dtype: DType, seconds: float) -> ProbeResult:
    """MACs per second of one large matrix product."""
    _set_threads(settings)
    before = system_load.cpu_times()
    rate = throughput.matmul_macs_per_s(dtype, _device(settings), _timer(settings), seconds)
    return _result(rate, before)


def copy_rate(settings: ProbeSettings, memory_bytes: int, seconds: float) -> ProbeResult:
    """Bytes per second that a large copy reads and writes.

    Args:
        settings: how to measure.
        memory_bytes: free memory, of which the copy uses a fraction.
        seconds: time limit.
    """
    _set_threads(settings)
    before = system_load.cpu_times()
    rate = throughput.copy_bytes_per_s(_device(settings), _timer(settings), seconds, memory_bytes)
    return _result(rate, before)


def noise(settings: ProbeSettings, macs_per_s: int, seconds: float) -> tuple[Noise, Conditions]:
    """The noise of times, and conditions that may explain it.

    Args:
        settings: how to measure.
        macs_per_s: the rate of float32 products, from which the size of the work follows.
        seconds: time limit.
    """
    import torch

    _set_threads(settings)
    before = system_load.cpu_times()
    measured = throughput.measure_noise(_device(settings), _timer(settings), seconds, macs_per_s)
    after = system_load.cpu_times()
    return measured, system_load.conditions(before, after, torch.get_num_threads())


def time_kernel(settings: ProbeSettings, case: Case, seconds: float) -> ProbeResult:
    """The time of a kernel, without its first calls, which include setup and compilation.

    Raises:
        MeasurementError: when the output of the kernel is wrong.
    """
    from attnprof.measure.rounds import Budget, measure_rounds

    start = time.monotonic()
    _set_threads(settings)
    kernel, workload = kernels.find(case.kernel), case.workload
    status, reason = feasibility(case)
    if status != "ok":
        return ProbeResult(reason=reason)
    wrong = worker_tasks.check_output(case)
    if wrong:
        raise MeasurementError(wrong)
    run, timer = kernel.build(workload).run, _timer(settings)
    timer(run)
    left_seconds = max(0.001, seconds - (time.monotonic() - start))
    measured = measure_rounds(
        {"": run},
        timer,
        Budget(left_seconds),
        is_settled=lambda times: len(times[""]) >= MAX_ROUNDS,
        surroundings=surroundings_here(),
    )
    for error in measured.failures.values():
        raise error
    sample = _sample(case, measured.times[""])
    disturbance = measured.disturbance
    before, after = disturbance.before, disturbance.after
    if not disturbance.is_withheld or before is None or after is None:
        return ProbeResult(value=sample)
    others = system_load.cores_used_by_others(before, after)
    return ProbeResult(
        value=sample, is_disturbed=True, cores_used_by_others=round(others or 0.0, 2)
    )


def _sample(case: Case, times: Sequence[int]) -> Sample:
    """The time of a case, from nanoseconds of single calls, with its MACs and moved bytes."""
    kernel, workload = kernels.find(case.kernel), case.workload
    interval = median_interval(times)
    return Sample(
        seq_len=workload.seq_len,
        executed_macs=kernel.executed_macs(workload),
        moved_bytes=kernels.moved_bytes(kernel, workload),
        time_ns=round(interval.median),
        time_low_ns=round(interval.low),
        time_high_ns=round(interval.high),
    )


def _result(value: int, before: system_load.CpuTimes) -> ProbeResult:
    others = system_load.cores_used_by_others(before, system_load.cpu_times())
    return ProbeResult(value=value, cores_used_by_others=round(others or 0.0, 2))


def _set_threads(settings: ProbeSettings) -> None:
    if settings.threads is not None:
        import torch

        torch.set_num_threads(settings.threads)


def _device(settings: ProbeSettings) -> Device:
    return "cuda" if settings.device == "cuda" else "cpu"


def _timer(settings: ProbeSettings) -> Callable[[Callable[[], object]], Timed]:
    from attnprof.measure.rounds import cpu_timer, cuda_timer

    return cuda_timer() if settings.device == "cuda" else cpu_timer
