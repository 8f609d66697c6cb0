"""`attnprof doctor`: options in, a machine out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from attnprof.core.machine import Machine
from attnprof.measure.doctor import Observer, examine
from attnprof.measure.doctor_probes import Setting
from attnprof.options import check_names, read_device_name, read_seconds, read_threads
from attnprof.report.outputs import Outputs

DEFAULT_MAX_SECONDS = 60.0


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
    setting = Setting(
        device=read_device_name(options),
        threads=read_threads(options),
        max_seconds=read_seconds("max_seconds", options.get("max_seconds"), DEFAULT_MAX_SECONDS),
    )
    outputs = Outputs[Machine].read({"json": options.get("json")}, {"json": Machine.to_json})
    return DoctorRequest(setting, outputs)
