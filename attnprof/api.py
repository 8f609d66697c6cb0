"""What the package and the command line share: options in, results out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack, cast

from attnprof import kernels
from attnprof.analysis.breakdown_table import Breakdown
from attnprof.analysis.predictions import with_predictions
from attnprof.core import machine as machines
from attnprof.core.errors import UsageError
from attnprof.core.machine import Machine
from attnprof.core.result_table import ResultTable
from attnprof.core.workload import Case, Device
from attnprof.measure import runner
from attnprof.measure.breakdown import break_down
from attnprof.measure.request import IsolationOptions, Request, isolated
from attnprof.measure.runner import Observer
from attnprof.options import GridOptions, check_names, read_cases, read_device_name
from attnprof.report.formats import renderers
from attnprof.report.outputs import OutputOptions, Outputs

if TYPE_CHECKING:
    from attnprof.analysis.audit_table import AuditTable


class EstimateOptions(GridOptions, OutputOptions, IsolationOptions, total=False):
    """Options of `attnprof estimate`."""

    machine: str | None


@dataclass(slots=True)
class EstimateRequest(Request):
    """An estimate, checked and ready to run.

    Attributes:
        cases: what to cost.
        outputs: where results go.
        machine: the stored machine whose times are predicted; None for no prediction.
    """

    cases: tuple[Case, ...]
    outputs: Outputs[ResultTable]
    machine: Machine | None = None

    def run(self) -> ResultTable:
        """Estimate, and save what was asked for."""
        records = runner.estimate(self.cases)
        table = ResultTable(with_predictions(records, self.machine) if self.machine else records)
        if self.machine:
            table.machine = self.machine
            table.available_bytes = self.machine.memory_bytes
        self.outputs.save(table)
        return table


def prepare_estimate(options: EstimateOptions) -> EstimateRequest:
    """Check the options of an estimate.

    `device` `auto` is `cpu` here: an estimate does not look at the machine. With a stored machine
    it is that machine's device.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    check_names(options, EstimateOptions)
    path = options.get("machine")
    stored = None if path is None else machines.read_machine(path)
    device = read_device_name(options)
    if device == "auto":
        device = stored.device if stored else "cpu"
    if stored and device != stored.device:
        raise UsageError("device", device, f"{path} has the times of {stored.device}")
    outputs = Outputs.read(options, renderers(None))
    with isolated(options) as stack:
        cases = read_cases(options, cast("Device", device))
        return EstimateRequest(cases, outputs, stored, stack=stack.pop_all())


class BreakdownOptions(GridOptions, IsolationOptions, total=False):
    """Options of `attnprof breakdown`."""

    csv: str | None
    json: str | None


@dataclass(slots=True)
class BreakdownRequest(Request):
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
    paths: OutputOptions = {"csv": options.get("csv"), "json": options.get("json")}
    outputs = Outputs[Breakdown].read(paths, {"csv": Breakdown.to_csv, "json": Breakdown.to_json})
    with isolated(options) as stack:
        return BreakdownRequest(read_cases(options, "cpu"), outputs, stack=stack.pop_all())


class AuditOptions(GridOptions, IsolationOptions, total=False):
    """Options of `attnprof audit`."""

    no_peers: bool
    csv: str | None
    json: str | None
    markdown: str | None


AUDIT_LENGTHS = (512, 1024)


@dataclass(slots=True)
class AuditRequest(Request):
    """An audit, checked and ready to run."""

    cases: tuple[Case, ...]
    outputs: Outputs[AuditTable]
    peers: tuple[str, ...]

    def run(self, observe: Observer = lambda activity, done: None) -> AuditTable:
        """Count, explain, and save what was asked for."""
        from attnprof.measure.audit import audit

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

    from attnprof.analysis.audit_table import AuditTable
    from attnprof.measure.audit import installed_peers

    def markdown(result: AuditTable) -> str:
        from attnprof.report.audit import render_audit_markdown

        return render_audit_markdown(result)

    outputs = Outputs[AuditTable].read(
        paths, {"csv": AuditTable.to_csv, "json": AuditTable.to_json, "markdown": markdown}
    )
    chosen = () if options.get("no_peers") else installed_peers()
    with isolated(grid) as stack:
        return AuditRequest(read_cases(grid, "cpu"), outputs, chosen, stack=stack.pop_all())


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
    from attnprof.measure import environment

    check_names(options, GridOptions)
    device = environment.resolve_device(read_device_name(options))
    cases = read_cases({**options, "kernel": kernels.names()}, device)
    listings: list[KernelListing] = []
    for name in kernels.names():
        kernel = kernels.find(name)
        reasons = (kernel.supports(case.workload) for case in cases if case.kernel == name)
        obstacle = next((reason for reason in reasons if reason), "")
        listings.append(KernelListing(name, kernel.summary, obstacle))
    return listings


def estimate(**options: Unpack[EstimateOptions]) -> ResultTable:
    """Cost attention by closed forms: instant, without torch, at any length.

    Takes the options of `attnprof estimate` as keyword arguments, as text or as numbers:
    `estimate(len=[512, "4k"], window=256, dilation="1x10:4x2")`. A list has several values of an
    option, to be compared.

    - `kernel`: also a module, a class of modules or a function, as what `pkg.mod:name` could name.
    - `dilation`: a tuple is one value with a stride for each head, as in
      `AttentionPattern.sliding(dilation=(1, 1, 2, 5))`; a list has several values, each a stride
      for all heads, a tuple, or text.
    - `global_tokens`: how many first tokens are global. Positions are text, as `"@0:17"`;
      `AttentionPattern.sliding` takes them as `global_positions=(0, 17)`.

    Raises:
        UsageError: for the first option that cannot be used, before any work.
    """
    with prepare_estimate(options) as request:
        return request.run()
