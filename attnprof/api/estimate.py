"""`estimate`: options in, closed forms out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack, cast

from attnprof.analysis.predictions import with_predictions
from attnprof.analysis.utilisation import with_rates_of
from attnprof.api.finishing import finish, python_call
from attnprof.api.result_table import ResultTable
from attnprof.core import machine as machines
from attnprof.core.errors import UsageError
from attnprof.core.machine import Machine
from attnprof.core.workload import Case, Device
from attnprof.measure import static_costs
from attnprof.measure.request import IsolationOptions, Request, open_kernel_processes
from attnprof.options import GridOptions, read_cases, read_device_name, reject_unknown_options
from attnprof.report.formats import table_renderers
from attnprof.report.image_forms import draws
from attnprof.report.outputs import OutputOptions, Outputs


class EstimateOptions(GridOptions, OutputOptions, IsolationOptions, total=False):
    """Options of `attnprof estimate`."""

    machine: str | None
    chart: str | None
    details: bool
    explain: bool


@dataclass(slots=True)
class EstimateRequest(Request):
    """An estimate, checked and ready to run.

    Attributes:
        cases: what to cost.
        outputs: where results go.
        machine: stored machine to predict times for; None for no predictions.
        command: the command line or the Python call.
    """

    cases: tuple[Case, ...]
    outputs: Outputs[ResultTable]
    machine: Machine | None = None
    command: str = ""

    def run(self) -> ResultTable:
        """Estimate, and write the requested outputs."""
        records = static_costs.estimate_records(self.cases)
        if self.machine:
            records = with_rates_of(with_predictions(records, self.machine), self.machine)
        table = ResultTable(records)
        if self.machine:
            table.machine = self.machine
            table.available_bytes = self.machine.memory_bytes
        table.command = self.command
        finish(table)
        self.outputs.save(table)
        return table


def prepare_estimate(options: EstimateOptions, command: str = "") -> EstimateRequest:
    """Check the options of an estimate.

    Args:
        options: of the estimate.
        command: the command line or the Python call, which its table keeps.

    `device` `auto` means `cpu` here, as an estimate does not inspect the machine; with a stored
    machine it means that machine's device.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    reject_unknown_options(options, EstimateOptions)
    path = options.get("machine")
    stored = None if path is None else machines.read_machine(path)
    if draws(options, "roofline") and stored is None:
        raise UsageError("chart", "roofline", "needs the rates of a machine; add --machine FILE")
    device = read_device_name(options)
    if device == "auto":
        device = stored.device if stored else "cpu"
    if stored and device != stored.device:
        raise UsageError(
            "device",
            device,
            f"{path} was measured on {stored.device}; use --device {stored.device}",
        )
    outputs = Outputs[ResultTable].read(options, table_renderers(options))
    with open_kernel_processes(options) as stack:
        cases = read_cases(options, cast("Device", device))
        return EstimateRequest(cases, outputs, stored, command, stack=stack.pop_all())


def estimate(**options: Unpack[EstimateOptions]) -> ResultTable:
    """Cost attention by closed forms: instant, without torch, at any length.

    Takes the options of `attnprof estimate` as keyword arguments, as text or as numbers:
    `estimate(len=[512, "4k"], window=256, dilation="1x10:4x2")`. A list gives several values of an
    option, which are compared.

    - `kernel`: also a module, a module class or a function, like anything that `pkg.mod:name`
      could name.
    - `dilation`: a tuple is one value with a stride for each head, as in
      `AttentionPattern.sliding(dilation=(1, 1, 2, 5))`; a list gives several values, each a stride
      for all heads, a tuple, or text.
    - `global_tokens`: number of leading global tokens. Positions are text, such as `"@0:17"`;
      `AttentionPattern.sliding` takes them as `global_positions=(0, 17)`.

    Raises:
        UsageError: for the first option that cannot be used, before any work.
    """
    with prepare_estimate(options, python_call("estimate", options)) as request:
        return request.run()
