"""`attnprof doctor`: options in, a machine out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from attnprof.checkups import Setting
from attnprof.errors import UsageError, near
from attnprof.examination import Observer, examine
from attnprof.machine import Machine
from attnprof.outputs import Outputs
from attnprof.plan import check_names

DEFAULT_MAX_SECONDS = 60.0
DEVICES = ("auto", "cpu", "cuda")
MAX_THREADS = 4096


class DoctorOptions(TypedDict, total=False):
    """Options of `attnprof doctor`."""

    device: str | None
    threads: int | None
    max_seconds: float | None
    json: str | None


@dataclass(slots=True)
class DoctorRequest:
    """An examination, checked and ready to run."""

    setting: Setting
    outputs: Outputs[Machine]

    def run(self, observe: Observer = lambda activity, done: None) -> Machine:
        """Measure, and save what was asked for, parts that failed or not."""
        machine = examine(self.setting, observe)
        self.outputs.save(machine)
        return machine


def prepare_doctor(options: DoctorOptions) -> DoctorRequest:
    """Check the options of an examination; whether there is such a device is seen when it runs.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    check_names(options, DoctorOptions)
    device = options.get("device") or "auto"
    if device not in DEVICES:
        raise UsageError("device", device, near(device, DEVICES))
    setting = Setting(
        device=device,
        threads=_threads(options.get("threads")),
        max_seconds=_seconds(options.get("max_seconds")),
    )
    outputs = Outputs[Machine].read({"json": options.get("json")}, {"json": Machine.to_json})
    return DoctorRequest(setting, outputs)


def _threads(value: object) -> int | None:
    if value is None:
        return None
    text = str(value)
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= MAX_THREADS:
        raise UsageError("threads", value, f"a whole number from 1 to {MAX_THREADS:,}")
    return int(text)


def _seconds(value: object) -> float:
    try:
        seconds = DEFAULT_MAX_SECONDS if value is None else float(str(value))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError("max_seconds", value, "a positive number of seconds")
    return seconds
