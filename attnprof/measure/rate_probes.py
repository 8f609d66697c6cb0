"""The machine's rates, measured between the rounds in which kernels are timed.

Products and copies run in the process of the kernels and meet the same disturbances as they do.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from attnprof.core.errors import FailedError
from attnprof.core.records import COPY_RATE, MATMUL_RATE, Record
from attnprof.isolation.system_memory import available_bytes

if TYPE_CHECKING:
    from attnprof.core.workload import Case, Device, DType
    from attnprof.isolation.outcome import Outcome
    from attnprof.measure.throughput import Task, Timer

SECONDS_PER_LENGTH = 0.6
"""Time for all samples of one length: about two seconds at the three default lengths."""
LEAST_BUDGET_SECONDS = 1.0
"""Rounds with a smaller budget would take less time than the first samples."""
MIN_SAMPLES = 3
PART_OF_ROUNDS = 0.1
"""More samples than `MIN_SAMPLES` take at most this fraction of the time of the rounds."""
PRODUCT_SECONDS = 0.5
"""Time limit for finding a product that is large enough."""

COPIED_BYTES: dict[Device, int] = {"cpu": 2**26, "cuda": 2**28}
"""More than caches hold, and little beside what kernels allocate."""


@dataclass(frozen=True, slots=True)
class RateSample:
    """Rates of one moment, in units per second."""

    macs_per_s: int
    bytes_per_s: int


@dataclass(slots=True)
class RateProbes:
    """Takes samples of the machine's rates between rounds, so few that they hardly cost time.

    Attributes:
        sample: measures the rates in a dtype, in the process of the kernels.
        dtypes: of the kernels, each once.
    """

    sample: Callable[[DType], Outcome]
    dtypes: tuple[DType, ...]
    _samples: dict[DType, list[RateSample]] = field(default_factory=dict["DType", list[RateSample]])
    _failures: dict[DType, str] = field(default_factory=dict["DType", str])
    _spent_seconds: float = 0.0
    _start: float = field(default_factory=time.monotonic)

    def after_round(self) -> None:
        """Take a sample in each dtype if it is time for one."""
        for dtype in self.dtypes:
            if dtype in self._failures or not self._is_due(dtype):
                continue
            begun = time.monotonic()
            outcome = self.sample(dtype)
            self._spent_seconds += time.monotonic() - begun
            if outcome.status == "ok":
                self._samples.setdefault(dtype, []).append(outcome.value)
            else:
                self._failures[dtype] = outcome.failure

    def _is_due(self, dtype: DType) -> bool:
        if len(self._samples.get(dtype, ())) < MIN_SAMPLES:
            return True
        all_seconds = time.monotonic() - self._start
        most = min(SECONDS_PER_LENGTH, PART_OF_ROUNDS * all_seconds)
        return self._spent_seconds < most

    def records(self, case: Case) -> Iterator[Record]:
        """The medians of the samples in the dtype of a case, or why there are none."""
        samples = self._samples.get(case.workload.dtype)
        if not samples:
            reason = self._failures.get(case.workload.dtype, "no round has ended")
            detail = f"bound and utilisation are empty: the machine's rates: {reason}"
            yield Record(case.kernel, case.workload, MATMUL_RATE, None, "error", detail)
            return
        medians = {
            MATMUL_RATE: statistics.median(sample.macs_per_s for sample in samples),
            COPY_RATE: statistics.median(sample.bytes_per_s for sample in samples),
        }
        for quantity, median in medians.items():
            yield Record(case.kernel, case.workload, quantity, round(median))


_tasks: dict[tuple[DType, Device], tuple[Timer, Task, Task]] = {}
"""In the process of the kernels: a product and a copy that are warmed up."""


def sample_rates(dtype: DType, device: Device) -> RateSample:
    """Time one product and one copy here; both are built and warmed up the first time.

    Waits for a core are subtracted, as the rounds that other work disturbs are discarded.
    """
    from attnprof.measure.throughput import undisturbed_ns

    key = (dtype, device)
    if key not in _tasks:
        _tasks[key] = _build(dtype, device)
    timer, product, copy = _tasks[key]
    return RateSample(
        product.rate([undisturbed_ns(timer(product.run))]),
        copy.rate([undisturbed_ns(timer(copy.run))]),
    )


def clear() -> None:
    """Free what was built here."""
    _tasks.clear()


def _build(dtype: DType, device: Device) -> tuple[Timer, Task, Task]:
    from attnprof.measure import rounds, throughput

    timer = rounds.cuda_timer() if device == "cuda" else rounds.cpu_timer
    product = throughput.large_product(dtype, device, timer, PRODUCT_SECONDS)
    size = min(COPIED_BYTES[device], available_bytes(device) // 8)
    if not size:
        raise FailedError("no memory is free for a copy", "error")
    copy = throughput.large_copy(device, size)
    timer(copy.run)
    return timer, product, copy
