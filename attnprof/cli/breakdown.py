"""`attnprof breakdown`."""

from __future__ import annotations

from dataclasses import dataclass

import typer

from attnprof.analysis.breakdown_table import Breakdown
from attnprof.analysis.uncounted import uncounted_messages
from attnprof.cli import measurement_options, options, output_options
from attnprof.cli.saving import run_and_save
from attnprof.core.errors import MeasurementError
from attnprof.core.workload import Case
from attnprof.measure import Observer
from attnprof.measure.breakdown import break_down
from attnprof.measure.request import (
    DEFAULT_TIMEOUT_SECONDS,
    IsolationOptions,
    Request,
    open_kernel_processes,
)
from attnprof.options import (
    GridOptions,
    read_cases,
    read_counting_device,
    reject_unknown_options,
)
from attnprof.report.outputs import OutputOptions, Outputs


class BreakdownOptions(GridOptions, IsolationOptions, total=False):
    """Options of `attnprof breakdown`."""

    csv: str | None
    json: str | None


@dataclass(slots=True)
class BreakdownRequest(Request):
    """A breakdown, checked and ready to run."""

    cases: tuple[Case, ...]
    outputs: Outputs[Breakdown]

    def run(self, observe: Observer = lambda activity, done: None) -> Breakdown:
        """Count, and write the requested outputs."""
        result = break_down(self.cases, observe)
        self.outputs.save(result)
        return result


def prepare_breakdown(options: BreakdownOptions) -> BreakdownRequest:
    """Check the options of a breakdown.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    reject_unknown_options(options, BreakdownOptions)
    paths: OutputOptions = {"csv": options.get("csv"), "json": options.get("json")}
    outputs = Outputs[Breakdown].read(paths, {"csv": Breakdown.to_csv, "json": Breakdown.to_json})
    device = read_counting_device(options)
    with open_kernel_processes(options) as stack:
        return BreakdownRequest(read_cases(options, device), outputs, stack=stack.pop_all())


def breakdown(
    ctx: typer.Context,
    kernel: options.Kernel = None,
    len: options.Len = None,
    window: options.Window = None,
    pattern: options.Pattern = None,
    global_tokens: options.GlobalTokens = None,
    dilation: options.Dilation = None,
    model: options.Model = None,
    scope: options.Scope = None,
    dtype: options.DType = None,
    device: options.CountDevice = None,
    mode: options.Mode = None,
    batch_size: options.BatchSize = None,
    hidden_size: options.HiddenSize = None,
    num_heads: options.NumHeads = None,
    kv_heads: options.KvHeads = None,
    head_dim: options.HeadDim = None,
    value_dim: options.ValueDim = None,
    causal: options.Causal = None,
    new_tokens: options.NewTokens = None,
    input: options.Input = None,
    timeout: measurement_options.CountTimeout = f"{DEFAULT_TIMEOUT_SECONDS:g}",
    no_isolation: measurement_options.NoIsolation = False,
    csv: output_options.TableCsv = None,
    json: output_options.TableJson = None,
) -> None:
    """Break MACs down by module and by operator, and show how each part grows.

    Example: [bold]attnprof breakdown --kernel bert-sdpa --len 512 1024[/]
    """
    from attnprof.cli.console import echo_err, print_uncropped, table_width
    from attnprof.cli.progress import progress
    from attnprof.report.breakdown import render_breakdown

    with progress() as observe, prepare_breakdown(options.passed_options(ctx)) as request:
        result, exit_code = run_and_save(lambda: request.run(observe))
    if not request.outputs.takes_stdout:
        print_uncropped(render_breakdown(result, table_width()))
    for message in uncounted_messages(result.failures):
        echo_err(message)
    for path in request.outputs.written:
        echo_err(f"written: {path}")
    raise typer.Exit(MeasurementError.exit_code if result.failures else exit_code)
