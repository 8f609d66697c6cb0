"""Profiles a machine, each part in a worker process: failures are reported, the rest continues.

The calling process does not load torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from attnprof import kernels
from attnprof.analysis.noise import BUSY_PART
from attnprof.core.errors import MeasurementError, UsageError
from attnprof.core.machine import Conditions, KernelSample, Machine, Noise, Rates, Sample, part_of
from attnprof.core.workload import Case, Device, DType
from attnprof.isolation.workers import Workers, open_workers
from attnprof.measure import Observer, doctor_probes
from attnprof.measure.doctor_probes import ProbeResult, ProbeSettings
from attnprof.measure.environment import NO_CUDA, Environment
from attnprof.options import read_cases

LENGTHS = (1024, 2048, 4096)
"""Lengths in tokens at which kernels are timed."""
RATE_SECONDS = 1.5
"""Time limit for the rate of one dtype, and for the rate of copies."""
NOISE_SECONDS = 2.5
SLACK_SECONDS = 120.0
"""A part is ended when it exceeds its time limit by this much: it hangs or compiles forever."""
ROUNDS_PART = 0.6
"""Fraction of the kernels' time for timed rounds; the rest is for building and compiling."""
MIN_CALLS = 4
"""A warm-up and three rounds: a kernel for which there is no time for these is skipped."""
OTHER_SECONDS = 10.0
"""What rates and noise take, in the progress display."""

_MODULES = (
    "attnprof.measure.doctor_probes",
    "torch",
    "transformers.models.bert.modeling_bert",
    "transformers.models.longformer.modeling_longformer",
)


def profile_machine(settings: ProbeSettings, observe: Observer) -> Machine:
    """Measure this machine.

    Raises:
        UsageError: for a device that this machine lacks.
        MeasurementError: when torch cannot be loaded.
    """
    with open_workers(_MODULES, hint="") as server:
        return profile_with(server, settings, observe)


def profile_with(server: Workers, settings: ProbeSettings, observe: Observer) -> Machine:
    """Measure a machine in the processes of a server; raises as `profile_machine` does."""
    observe("inspecting the machine", 0.0)
    probed = server.run(doctor_probes.probe_environment, settings, max_seconds=SLACK_SECONDS)
    if probed.failure:
        raise MeasurementError(f"torch cannot be loaded: {probed.failure}")
    if probed.value is None:
        raise UsageError("device", "cuda", NO_CUDA)
    device, environment, memory_bytes, logical_cores = probed.value
    profiler = _MachineProfiler(
        server, replace(settings, device=device), device, logical_cores, observe
    )
    return profiler.machine(environment, memory_bytes)


@dataclass(slots=True)
class _MachineProfiler:
    """Measures the parts of a machine one by one and collects what went wrong.

    Attributes:
        server: starts the processes.
        settings: how to measure.
        device: that is profiled.
        logical_cores: of the machine.
        observe: called with the current activity and the fraction of all work done.
        failures: why parts failed, by part.
        left_out: why parts were skipped, by part.
        disturbed: cores that other processes used, by disturbed part.
    """

    server: Workers
    settings: ProbeSettings
    device: Device
    logical_cores: int
    observe: Observer
    failures: dict[str, str] = field(default_factory=dict[str, str])
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    disturbed: dict[str, float] = field(default_factory=dict[str, float])

    def machine(self, environment: Environment, memory_bytes: int) -> Machine:
        """Measure all parts, one after the other."""
        rates = self._rates(memory_bytes)
        noise, conditions = self._noise(rates)
        return Machine(
            device=self.device,
            environment=environment.as_dict(),
            memory_bytes=memory_bytes,
            rates=rates,
            noise=noise,
            conditions=conditions,
            kernel_samples=self._samples(rates),
            failures=self.failures,
            left_out=self.left_out,
            disturbed=self.disturbed,
        )

    def _run(self, part: str, function: Callable[..., Any], *args: Any, seconds: float) -> Any:
        """The result of one part; None if it failed or was skipped, which is recorded."""
        outcome = self.server.run(
            function, self.settings, *args, seconds, max_seconds=seconds + SLACK_SECONDS
        )
        if outcome.failure:
            self.failures[part] = outcome.failure
        result = outcome.value
        if not isinstance(result, ProbeResult):
            return result
        if result.reason:
            self.left_out[part] = result.reason
        is_busy = result.cores_used_by_others > BUSY_PART * self.logical_cores
        if result.is_disturbed or is_busy:
            self.disturbed[part] = result.cores_used_by_others
        return result.value

    def _observe(self, activity: str, spent_seconds: float) -> None:
        all_seconds = OTHER_SECONDS + self.settings.max_seconds
        self.observe(activity, min(1.0, spent_seconds / all_seconds))

    def _rates(self, memory_bytes: int) -> Rates:
        seconds = min(RATE_SECONDS, self.settings.max_seconds)
        by_dtype: dict[DType, int] = {}
        dtypes: tuple[DType, ...] = get_args(DType)
        for index, dtype in enumerate(dtypes):
            self._observe(f"timing {dtype} products", seconds * index)
            rate = self._run(dtype, doctor_probes.matmul_rate, dtype, seconds=seconds)
            if rate is not None:
                by_dtype[dtype] = rate
        self._observe("timing copies", seconds * len(dtypes))
        copy_rate = self._run("copy", doctor_probes.copy_rate, memory_bytes, seconds=seconds)
        return Rates(matmul_macs_per_s=by_dtype, copy_bytes_per_s=copy_rate)

    def _noise(self, rates: Rates) -> tuple[Noise | None, Conditions | None]:
        rate = rates.matmul_macs_per_s.get("float32")
        if rate is None:
            self.left_out["noise"] = "needs float32 matrix products, which failed"
            return None, None
        self._observe("measuring noise", OTHER_SECONDS - NOISE_SECONDS)
        seconds = min(NOISE_SECONDS, self.settings.max_seconds)
        return self._run("noise", doctor_probes.noise, rate, seconds=seconds) or (None, None)

    def _samples(self, rates: Rates) -> tuple[KernelSample, ...]:
        """Times of all kernels, longest first: these say most about lengths that are longer still.

        The result is sorted by kernel and length.
        """
        cases = sorted(_cases(self.device), key=_schedule_key)
        rate = rates.matmul_macs_per_s.get("float32")
        left_seconds = self.settings.max_seconds
        samples: list[KernelSample] = []
        for index, case in enumerate(cases):
            name = part_of(case.kernel, case.workload.seq_len)
            self._observe(
                f"timing {name}", OTHER_SECONDS + self.settings.max_seconds - left_seconds
            )
            if not _fits_time_budget(case, rate, left_seconds):
                self.left_out[name] = (
                    f"not enough time left of {self.settings.max_seconds:g} s; raise --max-seconds"
                )
                continue
            weight = case.workload.seq_len / _tokens(cases[index:])
            share = ROUNDS_PART * left_seconds * weight
            start = time.monotonic()
            sample: Sample | None = self._run(name, doctor_probes.time_kernel, case, seconds=share)
            left_seconds -= time.monotonic() - start
            if sample is not None:
                samples.append(_kernel_sample(case, sample))
        return tuple(sorted(samples, key=lambda timed: (timed.kernel, timed.sample.seq_len)))


def _cases(device: Device) -> tuple[Case, ...]:
    """Every built-in kernel in the shape of BERT base, window 512, one global token, float32."""
    return read_cases(
        {"len": LENGTHS, "kernel": kernels.names(), "window": 512, "global_tokens": 1}, device
    )


def _schedule_key(case: Case) -> tuple[int, bool]:
    """Longest first; within a length, kernels that compile last, as that may take any time."""
    return -case.workload.seq_len, kernels.find(case.kernel).needs_compilation


def _fits_time_budget(case: Case, macs_per_s: int | None, left_seconds: float) -> bool:
    """Whether a few calls fit in the time left if they run at the rate of one large product."""
    kernel = kernels.find(case.kernel)
    if macs_per_s is None or kernel.unsupported_reason(case.workload):
        return left_seconds > 0
    return MIN_CALLS * kernel.executed_macs(case.workload) / macs_per_s < left_seconds


def _tokens(cases: Sequence[Case]) -> int:
    return sum(case.workload.seq_len for case in cases)


def _kernel_sample(case: Case, sample: Sample) -> KernelSample:
    workload = case.workload
    return KernelSample(
        kernel=case.kernel,
        dtype=workload.dtype,
        mode=workload.mode,
        scope=workload.scope,
        sample=sample,
    )
