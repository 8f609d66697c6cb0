"""`attnprof windows`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

import typer

from attnprof import kernels
from attnprof.analysis.windows import WindowsTable
from attnprof.cli import completion, measurement_options, options, output_options
from attnprof.cli.option_forms import OUTPUT, WORKLOAD, flag, option
from attnprof.cli.saving import run_and_save
from attnprof.core.errors import MeasurementError, UsageError, suggest
from attnprof.core.workload import Case
from attnprof.kernels.custom import PUBLISHED
from attnprof.measure import Observer
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
    read_kernel_names,
    reject_unknown_options,
)
from attnprof.report.outputs import OutputOptions, Outputs

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_MODEL = "modernbert-base"
DEFAULT_LENGTH = 8192


_Model = Annotated[
    str | None,
    option(
        "--model",
        "NAME",
        "A published model, by its config and with random weights: mistral-7b, gemma-3, "
        "gpt-oss-20b, modernbert-base, qwen3, led-base, longformer-base-4096, bert-base.",
        panel=WORKLOAD,
        default=DEFAULT_MODEL,
        complete=completion.published_models,
    ),
]
_Kernel = Annotated[list[str] | None, options.kernel("none, but the model")]
_Len = Annotated[list[str] | None, options.lengths(str(DEFAULT_LENGTH))]
_Details = Annotated[bool, flag("--details", OUTPUT, "Print a row for each single layer.")]


class WindowsOptions(GridOptions, IsolationOptions, total=False):
    """Options of `attnprof windows`."""

    csv: str | None
    json: str | None
    markdown: str | None


@dataclass(slots=True)
class WindowsRequest(Request):
    """Models whose masks are to be followed, checked and ready to run."""

    cases: tuple[Case, ...]
    outputs: Outputs[WindowsTable]

    def run(self, observe: Observer = lambda activity, done: None) -> WindowsTable:
        """Follow the masks, and write the requested outputs."""
        from attnprof.measure.windows import compare_windows

        result = compare_windows(self.cases, observe)
        self.outputs.save(result)
        return result


def prepare_windows(options: WindowsOptions) -> WindowsRequest:
    """Check the options of `attnprof windows`; by default of ModernBERT at 8,192 tokens.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    reject_unknown_options(options, WindowsOptions)
    grid = cast("GridOptions", {"len": DEFAULT_LENGTH, **options, "kernel": _kernels(options)})
    grid.pop("model", None)

    def markdown(result: WindowsTable) -> str:
        from attnprof.report.windows import render_windows_markdown

        return render_windows_markdown(result)

    paths: OutputOptions = {
        "csv": options.get("csv"),
        "json": options.get("json"),
        "markdown": options.get("markdown"),
    }
    outputs = Outputs[WindowsTable].read(
        paths, {"csv": WindowsTable.to_csv, "json": WindowsTable.to_json, "markdown": markdown}
    )
    device = read_counting_device(options)
    with open_kernel_processes(grid) as stack:
        cases = read_cases(grid, device)
        return WindowsRequest(cases, outputs, stack=stack.pop_all())


def _kernels(options: WindowsOptions) -> Sequence[object]:
    """Own models, then the published one."""
    name = options.get("model")
    if name is not None and name not in PUBLISHED:
        raise UsageError("model", name, f"unknown; {suggest(name, PUBLISHED)}")
    own = read_kernel_names(options) if options.get("kernel") is not None else []
    for name in set(own).intersection(kernels.names()):
        raise UsageError(
            "kernel",
            name,
            "is built in: attnprof pattern draws what it needs and computes; name a model",
        )
    return [*own, *([name] if name else [])] or [DEFAULT_MODEL]


def windows(
    ctx: typer.Context,
    kernel: _Kernel = None,
    model: _Model = None,
    len: _Len = None,
    dtype: options.DType = None,
    device: options.CountDevice = None,
    mode: options.Mode = None,
    batch_size: options.BatchSize = None,
    hidden_size: options.HiddenSize = None,
    num_heads: options.NumHeads = None,
    input: options.Input = None,
    details: _Details = False,
    timeout: measurement_options.CountTimeout = f"{DEFAULT_TIMEOUT_SECONDS:g}",
    no_isolation: measurement_options.NoIsolation = False,
    markdown: output_options.Markdown = None,
    csv: output_options.TableCsv = None,
    json: output_options.TableJson = None,
) -> None:
    """Compare what a model's windows need with what it executes, layer by layer.

    Example: [bold]attnprof windows --model modernbert-base --len 8k[/]
    """
    from attnprof.analysis.uncounted import uncounted_messages
    from attnprof.cli.console import echo_err, print_uncropped, table_width
    from attnprof.cli.progress import progress
    from attnprof.report.windows import render_windows

    chosen = options.passed_options(ctx)
    has_details = bool(chosen.pop("details", False))
    with progress() as observe, prepare_windows(chosen) as request:
        result, exit_code = run_and_save(lambda: request.run(observe))
    if result.models and not request.outputs.takes_stdout:
        print_uncropped(render_windows(result, table_width(), has_details=has_details))
    for message in uncounted_messages(result.failures):
        echo_err(message)
    for path in request.outputs.written:
        echo_err(f"written: {path}")
    raise typer.Exit(MeasurementError.exit_code if result.failures else exit_code)
