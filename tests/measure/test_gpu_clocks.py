"""A GPU's clocks, from a fake of NVML's module."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from attnprof.measure.gpu_clocks import ClockMonitor, ClockReading, monitor_clocks

UUID = "1b2c"
SM, GPU = 1, 0


class FakeNvml(ModuleType):
    """One device that slows down from reading to reading."""

    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU = SM, GPU

    def __init__(self, clocks_mhz: list[int], throttle_bits: list[int]) -> None:
        super().__init__("pynvml")
        self.clocks_mhz, self.throttle_bits = iter(clocks_mhz), iter(throttle_bits)
        self.is_ready = False

    def nvmlInit(self) -> None:  # noqa: N802
        self.is_ready = True

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if not self.is_ready or uuid != f"GPU-{UUID}":
            raise RuntimeError("Not Found")
        return "handle"

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:  # noqa: N802
        assert (handle, kind) == ("handle", SM)
        return next(self.clocks_mhz)

    def nvmlDeviceGetMaxClockInfo(self, handle: str, kind: int) -> int:  # noqa: N802
        assert (handle, kind) == ("handle", SM)
        return 1980

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:  # noqa: N802
        assert (handle, sensor) == ("handle", GPU)
        return 64

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:  # noqa: N802
        return 689_400

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:  # noqa: N802
        return next(self.throttle_bits)


@pytest.fixture
def cuda_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=UUID)
    )


def note_after(monitor: ClockMonitor, times: int) -> str:
    seconds = iter(range(times))
    monitor.clock = lambda: next(seconds)
    for _ in range(times):
        monitor.sample()
    return monitor.note()


@pytest.mark.usefixtures("cuda_device")
def test_clocks_and_throttle_reasons_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    # The first reading of each tries whether the device answers.
    nvml = FakeNvml([1980, 1980, 1410, 1700], [0, 1, 4, 4 + 32])
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert note_after(monitor_clocks(), 3) == (
        "clocks 1,410 to 1,980 of 1,980 MHz; throttled: power cap, thermal slowdown; 64 °C; "
        "up to 689 W"
    )


@pytest.mark.usefixtures("cuda_device")
def test_an_idle_gpu_is_not_throttled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml([210, 210], [1, 1]))
    assert note_after(monitor_clocks(), 1) == "clocks 210 of 1,980 MHz; 64 °C; up to 689 W"


@pytest.mark.usefixtures("cuda_device")
def test_without_nvml_or_the_device_nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert note_after(monitor_clocks(), 2) == ""
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml([], []))
    assert note_after(monitor_clocks(), 2) == ""


def test_without_cuda_nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def current_device() -> int:
        raise RuntimeError("no NVIDIA driver")

    monkeypatch.setattr(torch.cuda, "current_device", current_device)
    assert note_after(monitor_clocks(), 2) == ""


def test_failed_readings_do_not_end_the_measurement() -> None:
    answers = iter([ClockReading(1000, 2000, 50, 10_000, 0)])
    monitor = ClockMonitor(lambda: next(answers))
    assert note_after(monitor, 3) == "clocks 1,000 of 2,000 MHz; 50 °C; up to 10 W"


def test_readings_in_quick_succession_are_skipped() -> None:
    seconds = iter([0.0, 0.01, 0.02, 5.0])
    monitor = ClockMonitor(lambda: ClockReading(1, 1, 1, 1, 0), lambda: next(seconds))
    for _ in range(4):
        monitor.sample()
    assert len(monitor.readings) == 2
