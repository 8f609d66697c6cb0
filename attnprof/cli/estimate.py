"""`attnprof estimate`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import typer

from attnprof.api.estimate import prepare_estimate
from attnprof.cli import measurement_options, options, output_options
from attnprof.cli.saving import run_and_save
from attnprof.core.errors import MeasurementError
from attnprof.core.units import counted
from attnprof.measure.request import DEFAULT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from attnprof.core.result_table import ResultTable

MAX_ROWS_BESIDE_A_FILE = 200
"""A table with more rows is not shown if it was written to a file."""


def estimate(
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
    device: options.EstimateDevice = None,
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
    machine: options.Machine = None,
    details: output_options.Details = False,
    explain: output_options.Explain = False,
    html: output_options.Html = None,
    png: output_options.Png = None,
    svg: output_options.Svg = None,
    chart: output_options.Chart = None,
    markdown: output_options.Markdown = None,
    csv: output_options.Csv = None,
    json: output_options.Json = None,
    timeout: measurement_options.CountTimeout = f"{DEFAULT_TIMEOUT_SECONDS:g}",
    no_isolation: measurement_options.NoIsolation = False,
) -> None:
    """Cost attention with closed forms: instant, no torch, any length.

    Example: [bold]attnprof estimate --len 4k 32k 1M --window 256 512[/]
    """
    from attnprof.cli.progress import progress

    with ExitStack() as stack:
        with progress("estimating"):
            request = stack.enter_context(
                prepare_estimate(options.passed_options(ctx), options.typed_command(ctx))
            )
            table, exit_code = run_and_save(request.run)
        if not request.outputs.takes_stdout:
            _show(table, request.outputs.written, has_details=details, has_formulas=explain)
    raise typer.Exit(MeasurementError.exit_code if table.has_failures else exit_code)


def _show(
    table: ResultTable, files: Sequence[str], *, has_details: bool, has_formulas: bool
) -> None:
    from attnprof.cli.console import echo_err
    from attnprof.cli.results import show_table

    if files and table.num_rows > MAX_ROWS_BESIDE_A_FILE:
        echo_err(f"{counted(table.num_rows, 'row')} written to {', '.join(files)}")
    else:
        show_table(table, has_details=has_details, has_formulas=has_formulas)
