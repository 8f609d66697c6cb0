"""`attnprof doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypedDict

import typer

from attnprof.cli import options
from attnprof.cli.saving import run_and_save
from attnprof.core.errors import MeasurementError
from attnprof.core.machine import Machine
from attnprof.measure import Observer
from attnprof.measure.doctor import profile_machine
from attnprof.measure.doctor_probes import ProbeSettings
from attnprof.options import read_device_name, read_seconds, read_threads, reject_unknown_options
from attnprof.report.outputs import Outputs

Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="auto, cpu or cuda; auto is CUDA where there is one. [dim]default: auto[/]",
    ),
]

MaxSeconds = Annotated[
    str,
    typer.Option(
        "--max-seconds",
        metavar="<float>",
        help="Time for the kernels, all together; rates and noise take some 10 s more.",
    ),
]

Json = Annotated[
    str | None,
    typer.Option("--json", metavar="PATH", help="The machine, for --machine; - is stdout."),
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
    """An examination, checked and ready to run."""

    setting: ProbeSettings
    outputs: Outputs[Machine]

    def run(self, observe: Observer = lambda activity, done: None) -> Machine:
        """Measure, and save what was asked for, parts that failed or not."""
        machine = profile_machine(self.setting, observe)
        self.outputs.save(machine)
        return machine


def prepare_doctor(options: DoctorOptions) -> DoctorRequest:
    """Check the options of an examination; whether there is such a device is seen when it runs.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    reject_unknown_options(options, DoctorOptions)
    setting = ProbeSettings(
        device=read_device_name(options),
        threads=read_threads(options),
        max_seconds=read_seconds("max_seconds", options.get("max_seconds"), DEFAULT_MAX_SECONDS),
    )
    outputs = Outputs[Machine].read({"json": options.get("json")}, {"json": Machine.to_json})
    return DoctorRequest(setting, outputs)


def doctor(
    ctx: typer.Context,
    device: Device = None,
    threads: options.Threads = None,
    max_seconds: MaxSeconds = str(DEFAULT_MAX_SECONDS),
    json: Json = None,
) -> None:
    """The machine in a page: what it is, how fast, how noisy, and what helps.

    Exit code 3 if a part of it could not be measured.

    [dim]attnprof doctor --json machine.json[/]
    """
    from attnprof.cli.console import echo_err, progress, show_sections
    from attnprof.cli.signals import graceful_shutdown
    from attnprof.report.doctor import render_doctor

    request = prepare_doctor(options.passed_options(ctx))
    with graceful_shutdown() as ending:
        try:
            with progress() as observe:
                machine, exit_code = run_and_save(lambda: request.run(observe))
        except KeyboardInterrupt:
            echo_err(f"attnprof: {ending.word}; nothing was written")
            raise typer.Exit(ending.exit_code) from None
    if request.outputs.takes_stdout:
        for part, reason in machine.failures.items():
            echo_err(f"{part}: {reason}")
    else:
        show_sections(render_doctor(machine))
    for path in request.outputs.written:
        echo_err(f"written: {path}")
    raise typer.Exit(MeasurementError.exit_code if machine.failures else exit_code)
