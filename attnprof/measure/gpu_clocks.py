"""The clocks of a GPU while it is timed: throttling explains unstable times.

They are read from NVML through `pynvml`, of the package `nvidia-ml-py`
(`pip install attnprof[gpu]`). If it is missing or fails, there are no readings, which is not an
error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from attnprof.core.units import format_count

_REASONS = {
    0x002: "application clock setting",
    0x004: "power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "thermal slowdown",
    0x040: "hardware thermal slowdown",
    0x080: "hardware power brake",
    0x100: "display clock setting",
}
"""Bits of `nvmlClocksThrottleReason...`; bit 0, an idle GPU, is not throttling."""

_SECONDS_BETWEEN = 0.1
"""Minimum interval of readings, so that they take no time from short rounds."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """A GPU's clocks, temperature and power at one moment."""

    sm_mhz: int
    max_sm_mhz: int
    temperature_celsius: int
    power_milliwatts: int
    throttle_bits: int


@dataclass(slots=True)
class ClockMonitor:
    """Reads a GPU's clocks now and then, between rounds.

    Attributes:
        read: takes a reading; None if NVML is not available.
        clock: seconds, which limit how often readings are taken.
        readings: all readings so far.
    """

    read: Callable[[], ClockReading] | None
    clock: Callable[[], float] = time.monotonic
    readings: list[ClockReading] = field(default_factory=list[ClockReading])
    _last_read_at: float = float("-inf")

    def sample(self) -> None:
        """Take a reading, unless the last one is recent."""
        now = self.clock()
        if self.read is None or now - self._last_read_at < _SECONDS_BETWEEN:
            return
        self._last_read_at = now
        # A failed reading, for whatever reason, must not end the measurement.
        with suppress(Exception):
            self.readings.append(self.read())

    def note(self) -> str:
        """The readings as a sentence; empty if there are none."""
        return describe_clocks(self.readings)


def monitor_clocks() -> ClockMonitor:
    """A monitor of torch's current CUDA device; without NVML it has no readings."""
    with suppress(Exception):
        return ClockMonitor(_reader(_current_uuid()))
    return ClockMonitor(None)


def describe_clocks(readings: list[ClockReading]) -> str:
    """Clocks, throttle reasons, temperature and power, as a sentence."""
    if not readings:
        return ""
    clocks = _format_range([reading.sm_mhz for reading in readings])
    bits = 0
    for reading in readings:
        bits |= reading.throttle_bits
    reasons = [name for bit, name in _REASONS.items() if bits & bit]
    most_watts = max(reading.power_milliwatts for reading in readings) // 1000
    parts = [
        f"clocks {clocks} of {format_count(readings[-1].max_sm_mhz)} MHz",
        f"throttled: {', '.join(reasons)}" if reasons else "",
        f"{_format_range([reading.temperature_celsius for reading in readings])} °C",
        f"up to {format_count(most_watts)} W",
    ]
    return "; ".join(part for part in parts if part)


def _format_range(values: list[int]) -> str:
    low, high = format_count(min(values)), format_count(max(values))
    return low if low == high else f"{low} to {high}"


def _current_uuid() -> str:
    """The device by UUID: NVML numbers devices differently, hidden ones included."""
    import torch

    return f"GPU-{torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"


def _reader(uuid: str) -> Callable[[], ClockReading]:
    """A function that reads one device.

    Raises:
        Exception: whatever pynvml raises without NVML, without such a device or on a failed query.
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
