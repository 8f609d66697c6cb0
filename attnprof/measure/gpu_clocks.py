"""The clocks of a GPU while it is timed: what throttles it explains times that wander.

Asked of NVML through `pynvml`, the package `nvidia-ml-py` (`pip install attnprof[gpu]`). Without
it, or where it does not answer, there is nothing to tell, and that is no error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from attnprof.core.units import format_count

_REASONS = {
    0x002: "clocks set by the user",
    0x004: "power cap",
    0x008: "hardware slowdown",
    0x010: "in step with other GPUs",
    0x020: "heat",
    0x040: "heat (hardware)",
    0x080: "power brake",
    0x100: "clocks set for the display",
}
"""Bits of `nvmlClocksThrottleReason...`; an idle GPU, bit 0, is not throttled."""

_SECONDS_BETWEEN = 0.1
"""Looks follow no closer, so that they take no time from short rounds."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What a GPU said of itself at one moment."""

    sm_mhz: int
    max_sm_mhz: int
    temperature_celsius: int
    power_milliwatts: int
    throttle_bits: int


@dataclass(slots=True)
class ClockMonitor:
    """Looks at a GPU's clocks now and then, between rounds.

    Attributes:
        read: asks the GPU; None where there is no asking.
        clock: seconds, to keep looks apart.
        readings: what was seen so far.
    """

    read: Callable[[], ClockReading] | None
    clock: Callable[[], float] = time.monotonic
    readings: list[ClockReading] = field(default_factory=list[ClockReading])
    _looked: float = float("-inf")

    def sample(self) -> None:
        """Take a reading, unless the last one is fresh."""
        now = self.clock()
        if self.read is None or now - self._looked < _SECONDS_BETWEEN:
            return
        self._looked = now
        # A GPU that does not answer, for whatever reason, must not end what is being measured.
        with suppress(Exception):
            self.readings.append(self.read())

    def note(self) -> str:
        """What was seen, in words; empty where nothing was."""
        return describe_clocks(self.readings)


def monitor_clocks() -> ClockMonitor:
    """A watch on torch's current CUDA device; one that sees nothing where NVML is not there."""
    with suppress(Exception):
        return ClockMonitor(_reader(_current_uuid()))
    return ClockMonitor(None)


def describe_clocks(readings: list[ClockReading]) -> str:
    """Clocks, what throttled them, heat and power, in words."""
    if not readings:
        return ""
    clocks = _span([reading.sm_mhz for reading in readings])
    bits = 0
    for reading in readings:
        bits |= reading.throttle_bits
    reasons = [name for bit, name in _REASONS.items() if bits & bit]
    most_watts = max(reading.power_milliwatts for reading in readings) // 1000
    parts = [
        f"clocks {clocks} of {format_count(readings[-1].max_sm_mhz)} MHz",
        f"throttled: {', '.join(reasons)}" if reasons else "",
        f"{_span([reading.temperature_celsius for reading in readings])} °C",
        f"up to {format_count(most_watts)} W",
    ]
    return "; ".join(part for part in parts if part)


def _span(values: list[int]) -> str:
    low, high = format_count(min(values)), format_count(max(values))
    return low if low == high else f"{low} to {high}"


def _current_uuid() -> str:
    """NVML numbers devices in an order of its own, and sees those that are hidden from CUDA."""
    import torch

    return f"GPU-{torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"


def _reader(uuid: str) -> Callable[[], ClockReading]:
    """Asks one device.

    Raises:
        Exception: whatever pynvml raises where there is no NVML, no such device or no answer.
    """
    import pynvml  # type: ignore[import-not-found]

    nvml: Any = pynvml
    nvml.nvmlInit()
    device = nvml.nvmlDeviceGetHandleByUUID(uuid)

    def read() -> ClockReading:
        return ClockReading(
            sm_mhz=nvml.nvmlDeviceGetClockInfo(device, nvml.NVML_CLOCK_SM),
            max_sm_mhz=nvml.nvmlDeviceGetMaxClockInfo(device, nvml.NVML_CLOCK_SM),
            temperature_celsius=nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU),
            power_milliwatts=nvml.nvmlDeviceGetPowerUsage(device),
            throttle_bits=nvml.nvmlDeviceGetCurrentClocksThrottleReasons(device),
        )

    read()
    return read
