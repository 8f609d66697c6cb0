"""`attnprof kernels`."""

from __future__ import annotations

import typer

from attnprof.api import prepare_kernels
from attnprof.cli import options


def kernels(
    ctx: typer.Context,
    len: options.Len = None,
    window: options.Window = None,
    dilation: options.Dilation = None,
    global_tokens: options.GlobalTokens = None,
    model: options.Model = None,
    hidden_size: options.HiddenSize = None,
    num_heads: options.NumHeads = None,
    batch_size: options.BatchSize = None,
    dtype: options.DType = None,
    device: options.Device = None,
    mode: options.Mode = None,
    scope: options.Scope = None,
) -> None:
    """List the kernels, and why some cannot be built here or for these options.

    [dim]attnprof kernels --dilation 4[/]
    """
    from rich.table import Table

    from attnprof.cli.screen import print_whole

    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False, header_style="dim")
    for heading in ("kernel", "what it is", "can be built"):
        table.add_column(heading, no_wrap=True)
    for listing in prepare_kernels(options.given(ctx)):
        table.add_row(listing.name, listing.summary, listing.obstacle or "yes")
    print_whole(table)
