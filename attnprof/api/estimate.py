"""`estimate`: options in, closed forms out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack, cast

from attnprof.analysis.predictions import with_predictions
from attnprof.core import machine as machines
from attnprof.core.errors import UsageError
from attnprof.core.machine import Machine
from attnprof.core.result_table import ResultTable
from attnprof.core.workload import Case, Device
from attnprof.measure import runner
from attnprof.measure.request import IsolationOptions, Request, isolated
from attnprof.options import GridOptions, read_cases, read_device_name, reject_unknown_options
from attnprof.report.formats import renderers
from attnprof.report.outputs import OutputOptions, Outputs


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
    reject_unknown_options(options, EstimateOptions)
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
