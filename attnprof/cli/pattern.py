"""`attnprof pattern`."""

from __future__ import annotations

from typing import Annotated

import typer

from attnprof.api.pattern import prepare_pattern
from attnprof.cli import completion, options
from attnprof.cli.option_forms import WORKLOAD, option, path
from attnprof.cli.saving import run_and_save

_Kernel = Annotated[
    list[str] | None,
    option(
        "--kernel",
        "NAME...",
        "Built-in kernels, whose blocks are drawn over the pattern.",
        panel=WORKLOAD,
        default="none",
        complete=completion.kernels,
    ),
]
_Len = Annotated[
    list[str] | None,
    option(
        "--len",
        "N",
        "Length in tokens: 512, 4k or 1M.",
        panel=WORKLOAD,
        default="4 windows",
    ),
]
_Window = Annotated[list[str] | None, options.window("8; 128 with --kernel")]
_Device = Annotated[str | None, options.device("cpu")]
_Png = Annotated[
    str | None,
    path(
        "--png",
        "Write the picture as PNG; a path ending in .svg or .pdf gets that format; - is stdout.",
    ),
]
_Svg = Annotated[str | None, path("--svg", "Write the picture as SVG.")]


def pattern(
    ctx: typer.Context,
    kernel: _Kernel = None,
    len: _Len = None,
    window: _Window = None,
    pattern: options.Pattern = None,
    global_tokens: options.GlobalTokens = None,
    dilation: options.Dilation = None,
    model: options.Model = None,
    dtype: options.DType = None,
    device: _Device = None,
    mode: options.Mode = None,
    hidden_size: options.HiddenSize = None,
    num_heads: options.NumHeads = None,
    kv_heads: options.KvHeads = None,
    head_dim: options.HeadDim = None,
    value_dim: options.ValueDim = None,
    causal: options.Causal = None,
    new_tokens: options.NewTokens = None,
    png: _Png = None,
    svg: _Svg = None,
) -> None:
    """Draw who attends to whom, and the blocks that kernels compute.

    Example: [bold]attnprof pattern --kernel longformer-hf longformer-banded[/]
    """
    from attnprof.cli.console import echo_err, print_uncropped
    from attnprof.report import streams
    from attnprof.report.pattern.terminal import render_terminal

    request = prepare_pattern(options.passed_options(ctx))
    panels, exit_code = run_and_save(request.run)
    if not request.outputs.takes_stdout:
        print_uncropped(render_terminal(panels, streams.columns()))
    for written in request.outputs.written:
        echo_err(f"written: {written}")
    raise typer.Exit(exit_code)
