"""Rates of matrix products and copies on a device, and the noise of its times.

Every function takes a timer, such as `attnprof.measure.rounds.cpu_timer`, and a time limit in
seconds. A few calls are made in any case, which may exceed the limit: a half precision that a
processor emulates is slow.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnprof.core.machine import Noise
from attnprof.measure.disturbance import Timed

if TYPE_CHECKING:
    import torch

    from attnprof.core.workload import Device, DType

Run = Callable[[], object]
Timer = Callable[[Run], Timed]

PRODUCT_NS = 20_000_000
"""A product that takes this long is large enough; a longer one gives the same rate."""
SMALLEST_SIDE = 256
LARGEST_SIDE: dict[Device, int] = {"cpu": 4096, "cuda": 16384}
COPIED_BYTES: dict[Device, int] = {"cpu": 2**28, "cuda": 2**30}
"""More than caches hold."""
REPEATS = 15
MIN_REPEATS = 3
NOISE_NS = 10_000_000
"""Approximate time of the fixed work that noise is measured with: as long as a kernel call."""
MIN_PAIRS = 8


@dataclass(frozen=True, slots=True)
class Task:
    """Work whose time gives a rate.

    Attributes:
        run: does it once.
        amount: MACs, or bytes read and written.
    """

    run: Run
    amount: int

    def rate(self, times_ns: Sequence[float]) -> int:
        """The amount per second, from the median of some times."""
        return round(self.amount / statistics.median(times_ns) * 1e9)


def matmul_macs_per_s(dtype: DType, device: Device, timer: Timer, seconds: float) -> int:
    """MACs per second of a product of square matrices that takes about `PRODUCT_NS`."""
    deadline = time.monotonic() + seconds
    task = large_product(dtype, device, timer, seconds)
    times = time_repeatedly(task.run, timer, deadline - time.monotonic(), REPEATS)
    return task.rate([timed.time_ns for timed in times])


def large_product(dtype: DType, device: Device, timer: Timer, seconds: float) -> Task:
    """A product of square matrices that takes about `PRODUCT_NS`, warmed up.

    Args:
        dtype: of the matrices.
        device: where they are.
        timer: times one call.
        seconds: limit for finding their size, and for a few products of it.
    """
    deadline = time.monotonic() + seconds
    side = SMALLEST_SIDE
    while True:
        product = _make_matmul(side, dtype, device)
        timer(product)  # the first call includes one-time setup
        # The fastest of several: a call that waits for a core would end the search too early.
        time_ns = min(undisturbed_ns(timer(product)) for _ in range(MIN_REPEATS))
        is_large = time_ns >= PRODUCT_NS or 2 * side > LARGEST_SIDE[device]
        # A product of twice the side takes eight times as long.
        if is_large or time.monotonic() + 8 * MIN_REPEATS * time_ns / 1e9 > deadline:
            return Task(product, side**3)
        side *= 2


def fastest_macs_per_s(dtype: DType, device: Device, timer: Timer, seconds: float) -> int:
    """The best MACs per second of several products: about the device's peak, even under load.

    The longest wait of a thread for a core is subtracted from the time of its product.
    """
    deadline = time.monotonic() + seconds
    side, best = SMALLEST_SIDE, 0.0
    while True:
        product = _make_matmul(side, dtype, device)
        for timed in [timer(product) for _ in range(MIN_REPEATS)]:
            best = max(best, side**3 / undisturbed_ns(timed))
        if 2 * side > LARGEST_SIDE[device] or time.monotonic() > deadline:
            return round(best * 1e9)
        # A product of twice the side takes eight times as long.
        if time.monotonic() + 8 * MIN_REPEATS * side**3 / best / 1e9 < deadline:
            side *= 2


def copy_bytes_per_s(device: Device, timer: Timer, seconds: float, free_bytes: int) -> int:
    """Bytes per second, read and written together, of copying a tensor too large for caches."""
    task = large_copy(device, min(COPIED_BYTES[device], free_bytes // 8))
    timer(task.run)
    times = time_repeatedly(task.run, timer, seconds, REPEATS)
    return task.rate([timed.time_ns for timed in times])


def large_copy(device: Device, size_bytes: int) -> Task:
    """A copy of a tensor of some bytes, not yet warmed up."""
    import torch

    source = torch.ones(size_bytes, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)

    def copy() -> object:
        return target.copy_(source)

    return Task(copy, 2 * size_bytes)


def measure_noise(device: Device, timer: Timer, seconds: float, macs_per_s: int) -> Noise:
    """Time two equal products in pairs, one after the other in a random order.

    Args:
        device: where to run them.
        timer: times one call.
        seconds: how long to continue.
        macs_per_s: the rate of float32 products, from which their size follows.
    """
    side = round((macs_per_s * NOISE_NS / 1e9) ** (1 / 3) / 64) * 64
    side = min(max(side, 64), LARGEST_SIDE[device])
    products = [_make_matmul(side, "float32", device) for _ in range(2)]
    for product in products * 2:
        timer(product)
    order = random.Random(0)
    pairs: list[tuple[int, int]] = []
    deadline = time.monotonic() + seconds
    while len(pairs) < MIN_PAIRS or time.monotonic() < deadline:
        first = order.randrange(2)
        times = {which: timer(products[which]).time_ns for which in (first, 1 - first)}
        pairs.append((times[0], times[1]))
    return noise_of(pairs)


def noise_of(pairs: Sequence[tuple[int, int]]) -> Noise:
    """The spread of times, in nanoseconds, that would be equal on a machine without noise."""
    singles = [time_ns for pair in pairs for time_ns in pair]
    median = statistics.median(singles)
    hundredths = statistics.quantiles(singles, n=100, method="inclusive")
    return Noise(
        single_spread=round(_spread(singles), 5),
        paired_spread=round(_spread([first / second for first, second in pairs]), 5),
        outlier_spread=round(hundredths[98] / median - 1, 5),
        single_ns=round(median),
        pairs=len(pairs),
    )


def time_repeatedly(
    run: Run, timer: Timer, seconds: float, most: int, least: int = MIN_REPEATS
) -> list[Timed]:
    """Time one call between `least` and `most` times, within a number of seconds."""
    deadline = time.monotonic() + seconds
    times: list[Timed] = []
    while len(times) < least or (len(times) < most and time.monotonic() < deadline):
        times.append(timer(run))
    return times


def undisturbed_ns(timed: Timed) -> int:
    """A time without the longest wait of a thread for a core, in nanoseconds."""
    return max(1, timed.time_ns - (timed.waited_ns or 0))


def _spread(values: Sequence[float]) -> float:
    """The interquartile range as a fraction of the median."""
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return (upper - lower) / median


def _make_matmul(side: int, dtype: DType, device: Device) -> Run:
    import torch

    generator = torch.Generator(device=device).manual_seed(0)
    left, right = (
        torch.randn(side, side, generator=generator, device=device).to(getattr(torch, dtype))
        for _ in range(2)
    )
    result = torch.empty_like(left)

    def product() -> torch.Tensor:
        return torch.mm(left, right, out=result)

    return product
