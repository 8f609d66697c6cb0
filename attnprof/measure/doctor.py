"""Examines a machine, each part in a process of its own: what fails is told, the rest goes on.

The caller's process loads no torch.
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
from attnprof.measure.environment import Environment
from attnprof.options import read_cases

LENGTHS = (1024, 2048, 4096)
"""Where kernels are timed, in tokens."""
RATE_SECONDS = 1.5
"""For the rate of one dtype, and for that of copies."""
NOISE_SECONDS = 2.5
SLACK_SECONDS = 120.0
"""A part is ended when it takes so much longer than it should: it hangs, or compiles forever."""
ROUNDS_PART = 0.6
"""Of the time of kernels: the rest is for building and compiling them."""
MIN_CALLS = 4
"""A warm-up and three rounds: what does not fit is not begun."""
KERNELS_FROM = 0.3
"""Rates and noise are taken for the first part of the work, for the progress display."""


_MODULES = (
    "attnprof.measure.doctor_probes",
    "torch",
    "transformers.models.bert.modeling_bert",
    "transformers.models.longformer.modeling_longformer",
)


def profile_machine(setting: ProbeSettings, observe: Observer) -> Machine:
    """The machine as it is now.

    Raises:
        UsageError: for a device that is not here.
        MeasurementError: where not even torch can be loaded.
    """
    with open_workers(_MODULES, hint="") as server:
        return profile_with(server, setting, observe)


def profile_with(server: Workers, setting: ProbeSettings, observe: Observer) -> Machine:
    """The machine as a server's processes see it; raises as `profile_machine` does."""
    observe("looking at the machine", 0.0)
    looked = server.run(doctor_probes.probe_environment, setting, max_seconds=SLACK_SECONDS)
    if looked.failure:
        raise MeasurementError(f"torch cannot be looked at: {looked.failure}")
    if looked.value is None:
        raise UsageError("device", "cuda", "torch sees no CUDA device here; use cpu or auto")
    device, environment, memory_bytes, logical_cores = looked.value
    examination = _MachineProfiler(
        server, replace(setting, device=device), device, logical_cores, observe
    )
    return examination.machine(environment, memory_bytes)


@dataclass(slots=True)
class _MachineProfiler:
    """What is known of a machine's parts so far, and how the next is examined."""

    server: Workers
    setting: ProbeSettings
    device: Device
    logical_cores: int
    observe: Observer
    failures: dict[str, str] = field(default_factory=dict[str, str])
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    disturbed: dict[str, float] = field(default_factory=dict[str, float])

    def machine(self, environment: Environment, memory_bytes: int) -> Machine:
        """All parts one after the other."""
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
        """What a part gives; None where it failed or was not begun, which is kept."""
        outcome = self.server.run(
            function, self.setting, *args, seconds, max_seconds=seconds + SLACK_SECONDS
        )
        if outcome.failure:
            self.failures[part] = outcome.failure
        taken = outcome.value
        if isinstance(taken, ProbeResult):
            if taken.obstacle:
                self.left_out[part] = taken.obstacle
            is_busy = taken.cores_used_by_others > BUSY_PART * self.logical_cores
            if taken.is_disturbed or is_busy:
                self.disturbed[part] = taken.cores_used_by_others
            return taken.value
        return taken

    def _rates(self, memory_bytes: int) -> Rates:
        seconds = min(RATE_SECONDS, self.setting.max_seconds)
        by_dtype: dict[DType, int] = {}
        dtypes: tuple[DType, ...] = get_args(DType)
        for index, dtype in enumerate(dtypes):
            self.observe(f"multiplying {dtype}", KERNELS_FROM * (1 + index) / 8)
            rate = self._run(dtype, doctor_probes.matmul_rate, dtype, seconds=seconds)
            if rate is not None:
                by_dtype[dtype] = rate
        self.observe("copying", KERNELS_FROM * 5 / 8)
        copied = self._run("copy", doctor_probes.copy_rate, memory_bytes, seconds=seconds)
        return Rates(matmul_macs_per_s=by_dtype, copy_bytes_per_s=copied)

    def _noise(self, rates: Rates) -> tuple[Noise | None, Conditions | None]:
        rate = rates.matmul_macs_per_s.get("float32")
        if rate is None:
            self.left_out["noise"] = "it is measured with float32 products, which failed"
            return None, None
        self.observe("repeating one product to see the noise", KERNELS_FROM * 6 / 8)
        seconds = min(NOISE_SECONDS, self.setting.max_seconds)
        return self._run("noise", doctor_probes.noise, rate, seconds=seconds) or (None, None)

    def _samples(self, rates: Rates) -> tuple[KernelSample, ...]:
        """Longest first: they tell most of what is longer still. In the order of their lengths."""
        cases = sorted(_cases(self.device), key=_schedule_key)
        rate = rates.matmul_macs_per_s.get("float32")
        left_seconds = self.setting.max_seconds
        samples: list[KernelSample] = []
        for index, case in enumerate(cases):
            name = part_of(case.kernel, case.workload.seq_len)
            done = index / len(cases)
            self.observe(f"timing {name}", KERNELS_FROM + (1 - KERNELS_FROM) * done)
            if not _fits_time_budget(case, rate, left_seconds):
                self.left_out[name] = (
                    f"no time left of {self.setting.max_seconds:g} s; raise --max-seconds"
                )
                continue
            weight = case.workload.seq_len / _tokens(cases[index:])
            share = ROUNDS_PART * left_seconds * weight
            begun = time.monotonic()
            sample: Sample | None = self._run(name, doctor_probes.time_kernel, case, seconds=share)
            left_seconds -= time.monotonic() - begun
            if sample is not None:
                samples.append(_kernel_sample(case, sample))
        return tuple(sorted(samples, key=lambda one: (one.kernel, one.sample.seq_len)))


def _cases(device: Device) -> tuple[Case, ...]:
    """Every built-in kernel in the shape of BERT base, window 512, one global token, float32."""
    return read_cases(
        {"len": LENGTHS, "kernel": kernels.names(), "window": 512, "global_tokens": 1}, device
    )


def _schedule_key(case: Case) -> tuple[int, bool]:
    """Longest first; of a length what compiles comes last, as nobody knows how long that takes."""
    return -case.workload.seq_len, kernels.find(case.kernel).needs_compilation


def _fits_time_budget(case: Case, macs_per_s: int | None, left_seconds: float) -> bool:
    """Whether a few calls would fit into the time if they were as fast as one large product."""
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
