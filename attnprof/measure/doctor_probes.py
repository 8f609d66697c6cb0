"""The parts of a machine's examination, each to be run in a process of its own.

They take the setting first and the seconds that they should stay within last.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
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
"""More of them tell little that is new of one length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """Under what a machine is examined.

    Attributes:
        device: `auto`, `cpu` or `cuda`; what `auto` is, is known after a first look.
        threads: that torch multiplies with; None leaves it to torch.
        max_seconds: for the times of all kernels together.
    """

    device: str = "auto"
    threads: int | None = None
    max_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What was measured, or why it was not begun.

    Attributes:
        value: what was measured: a rate, or a kernel's times.
        obstacle: why there is none.
        cores_used_by_others: cores that other processes kept busy meanwhile.
        is_disturbed: whether too few rounds are left that nothing else disturbed.
    """

    value: int | Sample | None = None
    obstacle: str = ""
    cores_used_by_others: float = 0.0
    is_disturbed: bool = False


def probe_environment(setting: ProbeSettings) -> tuple[Device, Environment, int, int] | None:
    """The device, its environment, its memory and all cores; None where there is no such device."""
    _set_threads(setting)
    try:
        device = environment.resolve_device(setting.device)
    except UsageError:
        return None
    cores = os.cpu_count() or 1
    return device, environment.capture(), available_bytes(device), cores


def matmul_rate(setting: ProbeSettings, dtype: DType, seconds: float) -> ProbeResult:
    """MACs a second of one large product."""
    _set_threads(setting)
    before = system_load.cpu_times()
    rate = throughput.matmul_macs_per_s(dtype, _device(setting), _timer(setting), seconds)
    return _taken(rate, before)


def copy_rate(setting: ProbeSettings, memory_bytes: int, seconds: float) -> ProbeResult:
    """Bytes a second that a copy reads and writes, within a part of the memory."""
    _set_threads(setting)
    before = system_load.cpu_times()
    rate = throughput.copy_bytes_per_s(_device(setting), _timer(setting), seconds, memory_bytes)
    return _taken(rate, before)


def noise(setting: ProbeSettings, macs_per_s: int, seconds: float) -> tuple[Noise, Conditions]:
    """The noise of products that have a rate, and what may have made it."""
    import torch

    _set_threads(setting)
    before = system_load.cpu_times()
    measured = throughput.measure_noise(_device(setting), _timer(setting), seconds, macs_per_s)
    after = system_load.cpu_times()
    return measured, system_load.conditions(before, after, torch.get_num_threads())


def time_kernel(setting: ProbeSettings, case: Case, seconds: float) -> ProbeResult:
    """A kernel's times; its first calls, which prepare and may compile, are not among them."""
    from attnprof.measure.rounds import Budget, measure_rounds

    begun = time.monotonic()
    _set_threads(setting)
    kernel, workload = kernels.find(case.kernel), case.workload
    status, reason = feasibility(case)
    if status != "ok":
        return ProbeResult(obstacle=reason)
    wrong = worker_tasks.wrong_output(case)
    if wrong:
        raise MeasurementError(wrong)
    run, timer = kernel.build(workload).run, _timer(setting)
    timer(run)
    left_seconds = max(0.001, seconds - (time.monotonic() - begun))
    measured = measure_rounds(
        {"": run},
        timer,
        Budget(left_seconds),
        is_settled=lambda times: len(times[""]) >= MAX_ROUNDS,
        surroundings=surroundings_here(),
    )
    for error in measured.failures.values():
        raise error
    interval = median_interval(measured.times[""])
    sample = Sample(
        seq_len=workload.seq_len,
        executed_macs=kernel.executed_macs(workload),
        moved_bytes=kernels.moved_bytes(kernel, workload),
        time_ns=round(interval.median),
        time_low_ns=round(interval.low),
        time_high_ns=round(interval.high),
    )
    seen = measured.disturbance
    if not seen.is_withheld or seen.before is None or seen.after is None:
        return ProbeResult(value=sample)
    others = system_load.cores_used_by_others(seen.before, seen.after)
    return ProbeResult(
        value=sample, is_disturbed=True, cores_used_by_others=round(others or 0.0, 2)
    )


def _taken(value: int, before: system_load.CpuTimes) -> ProbeResult:
    others = system_load.cores_used_by_others(before, system_load.cpu_times())
    return ProbeResult(value=value, cores_used_by_others=round(others or 0.0, 2))


def _set_threads(setting: ProbeSettings) -> None:
    if setting.threads is not None:
        import torch

        torch.set_num_threads(setting.threads)


def _device(setting: ProbeSettings) -> Device:
    return "cuda" if setting.device == "cuda" else "cpu"


def _timer(setting: ProbeSettings) -> Callable[[Callable[[], object]], Timed]:
    from attnprof.measure.rounds import cpu_timer, cuda_timer

    return cuda_timer() if setting.device == "cuda" else cpu_timer
