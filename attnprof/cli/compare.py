"""`attnprof compare`."""

from __future__ import annotations

import typer

from attnprof.api import DEFAULT_MAX_SECONDS, prepare_compare
from attnprof.cli import options
from attnprof.cli.group import INTERRUPTED
from attnprof.errors import MeasurementError


def compare(
    ctx: typer.Context,
    len: options.Len = None,
    window: options.Window = None,
    dilation: options.Dilation = None,
    global_tokens: options.GlobalTokens = None,
    kernel: options.Kernel = None,
    input: options.Input = None,
    model: options.Model = None,
    hidden_size: options.HiddenSize = None,
    num_heads: options.NumHeads = None,
    batch_size: options.BatchSize = None,
    dtype: options.DType = None,
    device: options.Device = None,
    mode: options.Mode = None,
    scope: options.Scope = None,
    no_count: options.NoCount = False,
    no_time: options.NoTime = False,
    no_memory: options.NoMemory = False,
    max_seconds: options.MaxSeconds = DEFAULT_MAX_SECONDS,
    csv: options.Csv = None,
    json: options.Json = None,
    markdown: options.Markdown = None,
    png: options.Png = None,
) -> None:
    """Run real kernels: MACs by every counter, peak memory, time.

    [dim]attnprof compare --len 512 1024 4096 --png costs.png[/]
    """
    from attnprof.cli.screen import interrupt_ends_at_once, progress, say, show_results
    from attnprof.columns import COMPARE_COLUMNS

    with interrupt_ends_at_once():
        request = prepare_compare(options.given(ctx))
    exit_code = 0
    try:
        with progress() as observe:
            request.run(observe)
    except KeyboardInterrupt:
        say("attnprof: interrupted; what was finished is kept")
        exit_code = INTERRUPTED
    table = request.table
    if not request.outputs.takes_stdout:
        show_results(table, COMPARE_COLUMNS, request.machine)
    for path in request.outputs.files:
        say(f"written: {path}")
    if exit_code == 0 and table.has_failures:
        exit_code = MeasurementError.exit_code
    raise typer.Exit(exit_code)
