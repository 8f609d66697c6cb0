"""What the package and the command line share: options in, results out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Unpack, cast

from attnprof import kernels, runner
from attnprof import machine as machines
from attnprof.breakdown import Breakdown, break_down
from attnprof.errors import UsageError
from attnprof.forecast import with_predictions
from attnprof.machine import Machine
from attnprof.outputs import Format, OutputOptions, Outputs, Renderer
from attnprof.plan import Case, GridOptions, check_names, read_cases, read_seconds
from attnprof.records import CASE, ResultTable
from attnprof.runner import Measurements, Observer
from attnprof.workload import Device

if TYPE_CHECKING:
    from attnprof.audit_table import AuditTable
    from attnprof.environment import Environment

DEFAULT_MAX_SECONDS = 15.0


class EstimateOptions(GridOptions, OutputOptions, total=False):
    """Options of `attnprof estimate`."""

    machine: str | None


class CompareOptions(GridOptions, OutputOptions, total=False):
    """Options of `attnprof compare`."""

    no_count: bool
    no_time: bool
    no_memory: bool
    max_seconds: float | None


@dataclass(slots=True)
class Request:
    """One command's work, checked and ready to run.

    Attributes:
        cases: what to cost.
        outputs: where results go.
        measurements: what to measure; None for closed forms only.
        environment: of the measuring machine; None for closed forms only.
        forecast_on: the stored machine whose times are predicted; None for no prediction.
        table: the results so far; it keeps them when `run` is interrupted.
    """

    cases: tuple[Case, ...]
    outputs: Outputs[ResultTable]
    measurements: Measurements | None = None
    environment: Environment | None = None
    forecast_on: Machine | None = None
    table: ResultTable = field(default_factory=ResultTable)

    def run(self, observe: Observer = lambda activity, done: None) -> ResultTable:
        """Do the work; results are saved as they come, and whatever ends it."""
        if self.forecast_on:
            self.table.machine = self.forecast_on
            self.table.available_bytes = self.forecast_on.memory_bytes
        try:
            for record in self._records(observe):
                self.table.add(record)
                if self.measurements and record.quantity == CASE:
                    self.outputs.save_files(self.table)
        except KeyboardInterrupt:
            self.table.close("error", "interrupted before it was finished")
            raise
        finally:
            if self.table.rows:
                self.outputs.save(self.table)
        return self.table

    @property
    def machine(self) -> str:
        """The measuring machine in a line; empty for closed forms only."""
        return self.environment.describe(self.cases[0].workload.device) if self.environment else ""

    def _records(self, observe: Observer) -> Iterator[runner.Record]:
        if self.measurements is None:
            records = runner.estimate(self.cases)
            return with_predictions(records, self.forecast_on) if self.forecast_on else records
        return runner.measure(self.cases, self.measurements, observe)


def prepare_estimate(options: EstimateOptions) -> Request:
    """Check the options of an estimate.

    `device` `auto` is `cpu` here: an estimate does not look at the machine. With a stored machine
    it is that machine's device.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    check_names(options, EstimateOptions)
    path = options.get("machine")
    stored = None if path is None else machines.read_machine(path)
    device = options.get("device") or "auto"
    if device == "auto":
        device = stored.device if stored else "cpu"
    if stored and device != stored.device:
        raise UsageError("device", device, f"{path} has the times of {stored.device}")
    cases = read_cases(options, cast("Device", device))
    return Request(cases, Outputs.read(options, _renderers(None)), forecast_on=stored)


def prepare_compare(options: CompareOptions) -> Request:
    """Check the options of a comparison, the cheap ones before torch is loaded.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    check_names(options, CompareOptions)
    measurements = Measurements(
        count=not options.get("no_count"),
        time=not options.get("no_time"),
        memory=not options.get("no_memory"),
        max_seconds=read_seconds(options.get("max_seconds"), DEFAULT_MAX_SECONDS),
    )
    read_cases(options, "cpu")
    Outputs.read(options, {})
    from attnprof import environment

    device = environment.resolve_device(options.get("device") or "auto")
    here = environment.capture()
    cases = read_cases(options, device)
    runner.load(cases)
    return Request(cases, Outputs.read(options, _renderers(here)), measurements, here)


class BreakdownOptions(GridOptions, total=False):
    """Options of `attnprof breakdown`."""

    csv: str | None
    json: str | None


@dataclass(slots=True)
class BreakdownRequest:
    """A breakdown, checked and ready to run."""

    cases: tuple[Case, ...]
    outputs: Outputs[Breakdown]

    def run(self) -> Breakdown:
        """Count, and save what was asked for."""
        result = break_down(self.cases)
        self.outputs.save(result)
        return result


def prepare_breakdown(options: BreakdownOptions) -> BreakdownRequest:
    """Check the options of a breakdown.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    check_names(options, BreakdownOptions)
    cases = read_cases(options, "cpu")
    paths: OutputOptions = {"csv": options.get("csv"), "json": options.get("json")}
    outputs = Outputs[Breakdown].read(paths, {"csv": Breakdown.to_csv, "json": Breakdown.to_json})
    return BreakdownRequest(cases, outputs)


class AuditOptions(GridOptions, total=False):
    """Options of `attnprof audit`."""

    no_peers: bool
    csv: str | None
    json: str | None
    markdown: str | None


AUDIT_LENGTHS = (512, 1024)


@dataclass(slots=True)
class AuditRequest:
    """An audit, checked and ready to run."""

    cases: tuple[Case, ...]
    outputs: Outputs[AuditTable]
    peers: tuple[str, ...]

    def run(self, observe: Observer = lambda activity, done: None) -> AuditTable:
        """Count, explain, and save what was asked for."""
        from attnprof.audit import audit

        result = audit(self.cases, self.peers, observe)
        self.outputs.save(result)
        return result


def prepare_audit(options: AuditOptions) -> AuditRequest:
    """Check the options of an audit; by default of all built-in kernels, at 512 and 1,024 tokens.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    check_names(options, AuditOptions)
    grid: GridOptions = {"len": AUDIT_LENGTHS, "kernel": kernels.names(), **options}
    paths: OutputOptions = {
        "csv": options.get("csv"),
        "json": options.get("json"),
        "markdown": options.get("markdown"),
    }

    from attnprof.audit import installed_peers
    from attnprof.audit_table import AuditTable

    def markdown(result: AuditTable) -> str:
        from attnprof.render.audit import render_audit_markdown

        return render_audit_markdown(result)

    outputs = Outputs[AuditTable].read(
        paths, {"csv": AuditTable.to_csv, "json": AuditTable.to_json, "markdown": markdown}
    )
    cases = read_cases(grid, "cpu")
    return AuditRequest(cases, outputs, () if options.get("no_peers") else installed_peers())


@dataclass(frozen=True, slots=True)
class KernelListing:
    """A kernel, and why it cannot be built; `obstacle` is empty where it can."""

    name: str
    summary: str
    obstacle: str


def prepare_kernels(options: GridOptions) -> list[KernelListing]:
    """All kernels, asked whether they take what the options describe.

    Of several lengths or patterns, the first that a kernel refuses decides.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    from attnprof import environment

    check_names(options, GridOptions)
    device = environment.resolve_device(options.get("device") or "auto")
    cases = read_cases({**options, "kernel": kernels.names()}, device)
    listings: list[KernelListing] = []
    for name in kernels.names():
        kernel = kernels.find(name)
        reasons = (kernel.supports(case.workload) for case in cases if case.kernel == name)
        obstacle = next((reason for reason in reasons if reason), "")
        listings.append(KernelListing(name, kernel.summary, obstacle))
    return listings


def _renderers(environment: Environment | None) -> Mapping[Format, Renderer[ResultTable]]:
    """How each format is made; what is heavy is loaded when it is used."""
    is_measured = environment is not None
    facts = environment.as_dict() if environment else None

    def markdown(table: ResultTable) -> str:
        from attnprof.columns import COMPARE_COLUMNS, ESTIMATE_COLUMNS
        from attnprof.render.markdown import render_markdown

        return render_markdown(table, COMPARE_COLUMNS if is_measured else ESTIMATE_COLUMNS)

    def png(table: ResultTable) -> bytes:
        from attnprof.render.chart import render_png

        return render_png(table)

    return {
        "csv": ResultTable.to_csv,
        "json": lambda table: table.to_json(facts),
        "markdown": markdown,
        "png": png,
    }


def estimate(**options: Unpack[EstimateOptions]) -> ResultTable:
    """Cost attention by closed forms: instant, without torch, at any length.

    Takes the options of `attnprof estimate` as keyword arguments, as text or as numbers:
    `estimate(len=[512, "4k"], window=256, dilation="1x10:4x2")`.

    Raises:
        UsageError: for the first option that cannot be used, before any work.
    """
    return prepare_estimate(options).run()


def compare(**options: Unpack[CompareOptions]) -> ResultTable:
    """Estimate, count, time and measure the memory of real kernels.

    Takes the options of `attnprof compare` as keyword arguments:
    `compare(len=[512, 1024], kernel=["bert-sdpa", "longformer-hf"], no_time=True)`.

    Raises:
        UsageError: for the first option that cannot be used, before any work.
    """
    return prepare_compare(options).run()
