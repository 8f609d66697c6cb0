"""`attnprof compare`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

import typer

from attnprof.api.compare import CompareRequest, prepare_compare
from attnprof.api.compare_options import DEFAULT_MAX_SECONDS
from attnprof.cli import measurement_options, options, output_options
from attnprof.core.errors import MeasurementError, UsageError
from attnprof.core.verdict import TARGET_RELATIVE_WIDTH
from attnprof.measure.request import DEFAULT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from attnprof.api.compare_options import CompareOptions
    from attnprof.cli.signals import Shutdown
    from attnprof.measure import Observer


def compare(
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
    device: options.Device = None,
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
    sweep: options.Sweep = None,
    shard: options.Shard = None,
    machine: options.Machine = None,
    max_seconds: measurement_options.MaxSeconds = f"{DEFAULT_MAX_SECONDS:g}",
    precision: measurement_options.Precision = f"{TARGET_RELATIVE_WIDTH:g}",
    no_time: measurement_options.NoTime = False,
    no_count: measurement_options.NoCount = False,
    no_memory: measurement_options.NoMemory = False,
    dry_run: measurement_options.DryRun = False,
    threads: measurement_options.Threads = None,
    allow_slow: measurement_options.AllowSlow = False,
    timeout: measurement_options.Timeout = f"{DEFAULT_TIMEOUT_SECONDS:g}",
    check_against: measurement_options.CheckAgainst = None,
    no_isolation: measurement_options.NoIsolation = False,
    dask: measurement_options.Dask = None,
    allow_other_versions: measurement_options.AllowOtherVersions = False,
    details: output_options.Details = False,
    explain: output_options.Explain = False,
    html: output_options.Html = None,
    png: output_options.Png = None,
    svg: output_options.Svg = None,
    chart: output_options.Chart = None,
    markdown: output_options.Markdown = None,
    csv: output_options.Csv = None,
    json: output_options.CompareJson = None,
    resume: output_options.Resume = False,
) -> None:
    """Measure real kernels: MACs by every counter, peak memory, time.

    Example: [bold]attnprof compare --kernel bert-sdpa longformer-banded --len 512 4096[/]
    """
    from attnprof.cli.console import echo_err
    from attnprof.cli.progress import progress
    from attnprof.cli.signals import graceful_shutdown

    if dry_run:
        _show_plan(options.passed_options(ctx))
        return
    with graceful_shutdown() as shutdown, ExitStack() as display:
        observe = display.enter_context(progress())
        try:
            typed = options.typed_command(ctx)
            request = prepare_compare(_without_plan(options.passed_options(ctx)), typed, observe)
        except KeyboardInterrupt:
            display.close()
            echo_err(f"attnprof: {shutdown.word}; nothing was measured yet")
            raise typer.Exit(shutdown.exit_code) from None
        with request:
            with display:
                _run(request, shutdown, observe)
            _show(request, shutdown, has_details=details, has_formulas=explain)
    raise typer.Exit(shutdown.exit_code)


def _without_plan(passed: CompareOptions) -> CompareOptions:
    """The options of `compare` in Python, which has no dry run."""
    return cast("CompareOptions", {n: value for n, value in passed.items() if n != "dry_run"})


def _show_plan(passed: CompareOptions) -> None:
    """Print what would be measured."""
    from attnprof.api.plan import plan_compare
    from attnprof.cli.console import show_plan

    for name in ("csv", "markdown", "html", "png", "svg"):
        if passed.get(name):
            raise UsageError(name, passed.get(name), "needs results; leave --dry-run out")
    show_plan(plan_compare(_without_plan(passed)))


def _run(request: CompareRequest, shutdown: Shutdown, observe: Observer) -> None:
    """Measure; finished results are kept after an interruption. Sets the exit code."""
    from attnprof.cli.console import echo_err

    try:
        request.run(observe, lambda message: echo_err(f"attnprof: {message}"))
    except KeyboardInterrupt:
        kept = "finished results are kept" if request.has_results else "no case was finished"
        echo_err(f"attnprof: {shutdown.word}; {kept}")
    except MeasurementError as error:  # a file cannot be written; the results are still shown
        echo_err(f"attnprof: {error}")
        shutdown.exit_code = shutdown.exit_code or error.exit_code


def _show(
    request: CompareRequest, shutdown: Shutdown, *, has_details: bool, has_formulas: bool
) -> None:
    """Show the results, and set the exit code."""
    from attnprof.cli.console import echo_err
    from attnprof.cli.results import show_table

    was_said = shutdown.word and not request.has_results
    if not request.outputs.takes_stdout and not was_said:
        show_table(request.table, has_details=has_details, has_formulas=has_formulas)
    for path in request.outputs.written:
        echo_err(f"written: {path}")
    if shutdown.exit_code == 0 and request.table.has_failures:
        shutdown.exit_code = MeasurementError.exit_code
