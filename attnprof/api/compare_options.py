"""The options of `compare`, and the checks that need no other process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attnprof import kernels
from attnprof.api.estimate import EstimateOptions
from attnprof.core import machine as machines
from attnprof.core.cpu import cpu_threads
from attnprof.core.errors import UsageError
from attnprof.core.files import is_special
from attnprof.core.machine import Machine
from attnprof.core.option_values import read_fraction, read_seconds, read_threads
from attnprof.core.verdict import TARGET_RELATIVE_WIDTH
from attnprof.kernels import custom
from attnprof.measure.on_dask.target import DaskTarget, read_dask_target
from attnprof.measure.rate_probes import LEAST_BUDGET_SECONDS
from attnprof.measure.request import DEFAULT_TIMEOUT_SECONDS
from attnprof.measure.single_case import MeasureSettings
from attnprof.options import reject_unknown_options
from attnprof.options.selection import Selection, StudyOptions, read_groups, read_selection
from attnprof.report.formats import renderers
from attnprof.report.image_forms import draws
from attnprof.report.journal import journal_path
from attnprof.report.outputs import STDOUT, Outputs

DEFAULT_MAX_SECONDS = 15.0


class CompareOptions(EstimateOptions, StudyOptions, total=False):
    """Options of `attnprof compare`."""

    no_count: bool
    no_time: bool
    no_memory: bool
    max_seconds: float | None
    precision: float | None
    threads: int | None
    resume: bool
    allow_slow: bool
    check_against: str | None
    dask: str | None
    allow_other_versions: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedOptions:
    """Options of a comparison that are checked before any process is started.

    Attributes:
        options: as they were passed.
        measurements: what to measure.
        machine: stored machine for predictions; None for none.
        threads: that the CPU computes with.
        selection: the cases, as far as they are known before devices are.
        kernel_names: each once.
        journal_path: where records are kept as they come; None if no results file is written.
        dask: the cluster that measures; None for this machine.
    """

    options: CompareOptions
    measurements: MeasureSettings
    machine: Machine | None
    threads: int
    selection: Selection
    kernel_names: list[str]
    journal_path: Path | None
    dask: DaskTarget | None


def check_options(options: CompareOptions) -> CheckedOptions:
    """Check everything that needs no other process.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    reject_unknown_options(options, CompareOptions)
    measurements = _read_measurements(options)
    selection = read_selection(options)
    device_names = selection.device_names
    path = options.get("machine")
    machine = None if path is None else machines.read_machine(path)
    dask = read_dask_target(options.get("dask"))
    threads = read_threads(options) or (dask and dask.threads) or cpu_threads()
    names = selection.kernel_names
    has_custom = any(kernels.is_custom(name) for name in names)
    if measurements.check_against and not has_custom:
        raise UsageError(
            "check_against",
            measurements.check_against,
            "applies to custom kernels only, such as --kernel pkg.mod:Net; built-in kernels are "
            "always checked against their pattern's definition",
        )
    if draws(options, "roofline"):
        _check_roofline(measurements, has_machine=machine is not None)
    _check_dask(options, dask, names)
    outputs = Outputs.read(options, renderers(options))
    results_journal = _journal_path(options)
    if results_journal:
        outputs.check_keeps([results_journal], "is for the records of the run")
    if not has_custom:
        read_groups(selection, dict.fromkeys(device_names, "cpu"))
    return CheckedOptions(
        options=options,
        measurements=measurements,
        machine=machine,
        threads=threads,
        selection=selection,
        kernel_names=names,
        journal_path=results_journal,
        dask=dask,
    )


def _check_dask(
    options: CompareOptions, dask: DaskTarget | None, kernel_names: Sequence[str]
) -> None:
    """Refuse what cannot be measured in other processes."""
    if dask is None:
        if options.get("allow_other_versions"):
            raise UsageError("allow_other_versions", "", "needs --dask")
        return
    if options.get("no_isolation"):
        raise UsageError("dask", dask.text, "measures in other processes; leave --no-isolation out")
    for name in kernel_names:
        if custom.is_given(name):
            expected = "must be importable by its name for --dask: workers import it"
            raise UsageError("kernel", name, expected)


def _check_roofline(measurements: MeasureSettings, *, has_machine: bool) -> None:
    """Refuse a roofline without times, or without rates of a machine."""
    if not measurements.time:
        raise UsageError("chart", "roofline", "needs times; leave --no-time out")
    if not has_machine and measurements.max_seconds < LEAST_BUDGET_SECONDS:
        least = f"{LEAST_BUDGET_SECONDS:g}"
        raise UsageError(
            "chart", "roofline", f"needs --max-seconds {least} or more, or --machine FILE"
        )


def _read_measurements(options: CompareOptions) -> MeasureSettings:
    return MeasureSettings(
        count=not options.get("no_count"),
        time=not options.get("no_time"),
        memory=not options.get("no_memory"),
        max_seconds=read_seconds("max_seconds", options.get("max_seconds"), DEFAULT_MAX_SECONDS),
        precision=read_fraction("precision", options.get("precision"), TARGET_RELATIVE_WIDTH),
        timeout=read_seconds("timeout", options.get("timeout"), DEFAULT_TIMEOUT_SECONDS),
        allow_slow=bool(options.get("allow_slow")),
        check_against=options.get("check_against"),
    )


def _journal_path(options: CompareOptions) -> Path | None:
    path = options.get("json")
    if path and path != STDOUT and not is_special(Path(path)):
        return journal_path(path)
    if options.get("resume"):
        raise UsageError(
            "resume", path or "without --json", "needs the results file; add --json FILE"
        )
    return None
