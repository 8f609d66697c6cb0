"""`attnprof doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypedDict

import typer

from attnprof.cli import options
from attnprof.cli.option_forms import option
from attnprof.cli.saving import run_and_save
from attnprof.core.errors import MeasurementError
from attnprof.core.machine import Machine
from attnprof.core.option_values import read_seconds, read_threads
from attnprof.measure import Observer
from attnprof.measure.doctor import profile_machine
from attnprof.measure.doctor_probes import ProbeSettings
from attnprof.options import read_device_name, reject_unknown_options
from attnprof.report.outputs import Outputs

Device = Annotated[str | None, options.device("CUDA if available", None)]

Threads = Annotated[
    str | None, option("--threads", "<int>", "CPU threads.", default="torch's choice")
]

MaxSeconds = Annotated[
    str,
    option(
        "--max-seconds",
        "<float>",
        "Seconds for all kernels together; rates and noise take about 10 s more.",
    ),
]

Json = Annotated[
    str | None,
    option("--json", "PATH", "Write the machine profile, for --machine; - is stdout."),
]

DEFAULT_MAX_SECONDS = 60.0


class DoctorOptions(TypedDict, total=False):
    """Options of `attnprof doctor`."""

    device: str | None
    threads: int | None
    max_seconds: float | None
    json: str | None


@dataclass(slots=True)
class DoctorRequest:
    """A machine profile, checked and ready to run."""

    settings: ProbeSettings
    outputs: Outputs[Machine]

    def run(self, observe: Observer = lambda activity, done: None) -> Machine:
        """Measure, and write the requested output, even if parts failed."""
        machine = profile_machine(self.settings, observe)
        self.outputs.save(machine)
        return machine


def prepare_doctor(options: DoctorOptions) -> DoctorRequest:
    """Check the options; whether the device exists is checked when the profile runs.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    reject_unknown_options(options, DoctorOptions)
    settings = ProbeSettings(
        device=read_device_name(options),
        threads=read_threads(options),
        max_seconds=read_seconds("max_seconds", options.get("max_seconds"), DEFAULT_MAX_SECONDS),
    )
    outputs = Outputs[Machine].read({"json": options.get("json")}, {"json": Machine.to_json})
    return DoctorRequest(settings, outputs)


def doctor(
    ctx: typer.Context,
    json: Json = None,
    max_seconds: MaxSeconds = f"{DEFAULT_MAX_SECONDS:g}",
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Profile this machine: specs, throughput, noise, suggestions.

    Example: [bold]attnprof doctor --json machine.json[/]

    Exit code 3 if a part could not be measured.
    """
    from attnprof.cli.console import echo_err, show_sections, table_width
    from attnprof.cli.progress import progress
    from attnprof.cli.signals import graceful_shutdown
    from attnprof.report.doctor import render_doctor

    request = prepare_doctor(options.passed_options(ctx))
    with graceful_shutdown() as shutdown:
        try:
            with progress() as observe:
                machine, exit_code = run_and_save(lambda: request.run(observe))
        except KeyboardInterrupt:
            echo_err(f"attnprof: {shutdown.word}; nothing was written")
            raise typer.Exit(shutdown.exit_code) from None
    if request.outputs.takes_stdout:
        for part, reason in machine.failures.items():
            echo_err(f"{part}: {reason}")
    else:
        show_sections(render_doctor(machine, table_width()))
    for path in request.outputs.written:
        echo_err(f"written: {path}")
    raise typer.Exit(MeasurementError.exit_code if machine.failures else exit_code)
