"""Options that commands share, with their help; `attnprof.options` reads the values."""

from __future__ import annotations

from typing import Annotated, Any

import typer

_INTEGER = "<int>"
_NUMBER = "<float>"

_WORKLOAD = "Workload"
_MEASUREMENT = "Measurement"
_OUTPUT = "Output"
"""Panels of the help."""

Window = Annotated[
    list[str] | None,
    typer.Option(
        "--window",
        metavar="W...",
        help="Window size: keys around a query, half on each side. 32:64:128 is a stack of three "
        "layers. [dim]default: 512[/]",
        rich_help_panel=_WORKLOAD,
    ),
]

Dilation = Annotated[
    list[str] | None,
    typer.Option(
        "--dilation",
        metavar="D...",
        help="Stride between the keys that a head attends to. 1x10:4x2 is ten heads at 1, two at "
        "4. [dim]default: 1[/]",
        rich_help_panel=_WORKLOAD,
    ),
]

GlobalTokens = Annotated[
    list[str] | None,
    typer.Option(
        "--global-tokens",
        metavar="G...",
        help="Number of leading global tokens, or positions such as @0:17:40. [dim]default: 1[/]",
        rich_help_panel=_WORKLOAD,
    ),
]

Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="NAME=DIMS...",
        help="Shape of an input of a custom kernel: x=batch,len,hidden, ids=batch,len:int64<30522. "
        "Sizes: batch, len, hidden, heads, head_dim, numbers, len*2, hidden/4. "
        "[dim]default: from the names of its arguments[/]",
        rich_help_panel=_WORKLOAD,
    ),
]

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Shape of a named model: bert-base, bert-large, longformer-base-4096, "
        "longformer-large-4096, longformer-char-lm. Other options override it. "
        "[dim]default: bert-base[/]",
        rich_help_panel=_WORKLOAD,
    ),
]

HiddenSize = Annotated[
    str | None,
    typer.Option(
        "--hidden-size",
        metavar=_INTEGER,
        help="Width of a layer: heads times head_dim.",
        rich_help_panel=_WORKLOAD,
    ),
]

NumHeads = Annotated[
    str | None,
    typer.Option(
        "--num-heads",
        metavar=_INTEGER,
        help="Attention heads of a layer.",
        rich_help_panel=_WORKLOAD,
    ),
]

BatchSize = Annotated[
    str | None,
    typer.Option(
        "--batch-size",
        metavar=_INTEGER,
        help="Sequences in one call. [dim]default: 1[/]",
        rich_help_panel=_WORKLOAD,
    ),
]

DType = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="NAME",
        help="float32, float64, bfloat16 or float16. [dim]default: float32[/]",
        rich_help_panel=_WORKLOAD,
    ),
]

Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="auto, cpu or cuda; auto is CUDA if available (for estimate, cpu). "
        "[dim]default: auto[/]",
        rich_help_panel=_WORKLOAD,
    ),
]

Mode = Annotated[
    str | None,
    typer.Option(
        "--mode",
        metavar="NAME",
        help="inference (forward) or training (forward and backward). [dim]default: inference[/]",
        rich_help_panel=_WORKLOAD,
    ),
]

Scope = Annotated[
    str | None,
    typer.Option(
        "--scope",
        metavar="NAME",
        help="attention; layer: plus the output projection and a feed-forward block four times as "
        "wide; stack: all layers of the model. [dim]default: attention[/]",
        rich_help_panel=_WORKLOAD,
    ),
]

Machine = Annotated[
    str | None,
    typer.Option(
        "--machine",
        metavar="PATH",
        help="Machine profile written by [bold]attnprof doctor --json PATH[/]: predict times on "
        "it, and the maximum lengths that fit in its memory.",
        rich_help_panel=_WORKLOAD,
    ),
]

NoCount = Annotated[
    bool, typer.Option("--no-count", help="Skip counters.", rich_help_panel=_MEASUREMENT)
]

NoTime = Annotated[
    bool, typer.Option("--no-time", help="Skip timing.", rich_help_panel=_MEASUREMENT)
]

NoMemory = Annotated[
    bool, typer.Option("--no-memory", help="Skip peak memory.", rich_help_panel=_MEASUREMENT)
]

NoPeers = Annotated[
    bool,
    typer.Option(
        "--no-peers",
        help="Skip installed third-party counters.",
        rich_help_panel=_MEASUREMENT,
    ),
]

MaxSeconds = Annotated[
    str,
    typer.Option(
        "--max-seconds",
        metavar=_NUMBER,
        help="Seconds for the timed rounds of one length, all kernels together; at least four "
        "rounds run. Building, warm-up, counting and memory are not included.",
        rich_help_panel=_MEASUREMENT,
    ),
]

AllowSlow = Annotated[
    bool,
    typer.Option(
        "--allow-slow",
        help="Also run cases that are otherwise skipped because one call is predicted to take more "
        "than twice --max-seconds.",
        rich_help_panel=_MEASUREMENT,
    ),
]

Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar=_NUMBER,
        help="Stop timing early once the 99 % interval of every ratio is narrower than this "
        "fraction of it and its verdict is clear.",
        rich_help_panel=_MEASUREMENT,
    ),
]

Timeout = Annotated[
    str,
    typer.Option(
        "--timeout",
        metavar=_NUMBER,
        help="Time limit in seconds for one count, memory measurement or timed call.",
        rich_help_panel=_MEASUREMENT,
    ),
]

Threads = Annotated[
    str | None,
    typer.Option(
        "--threads",
        metavar=_INTEGER,
        help="CPU threads. [dim]default: torch's choice[/]",
        rich_help_panel=_MEASUREMENT,
    ),
]

NoIsolation = Annotated[
    bool,
    typer.Option(
        "--no-isolation",
        help="Run in this process (for debuggers); a crash then ends the run.",
        rich_help_panel=_MEASUREMENT,
    ),
]

CheckAgainst = Annotated[
    str | None,
    typer.Option(
        "--check-against",
        metavar="NAME",
        help="Reference for custom kernels, as pkg.mod:reference, called with the same inputs: a "
        "kernel whose output differs is [bold]wrong[/] and not timed. Built-in kernels are always "
        "checked against their pattern.",
        rich_help_panel=_MEASUREMENT,
    ),
]

Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Resume the run that wrote --json; finished measurements are kept, except times whose "
        "verdict was withheld.",
        rich_help_panel=_OUTPUT,
    ),
]

Csv = Annotated[
    str | None,
    typer.Option(
        "--csv",
        metavar="PATH",
        help="Write CSV, one row per kernel and workload.",
        rich_help_panel=_OUTPUT,
    ),
]

Json = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="PATH",
        help="Write rows and environment as JSON. [bold]compare[/] also appends each record to a "
        ".jsonl file of the same name, as it is measured.",
        rich_help_panel=_OUTPUT,
    ),
]

Markdown = Annotated[
    str | None,
    typer.Option(
        "--markdown",
        metavar="PATH",
        help="Write table and findings as Markdown.",
        rich_help_panel=_OUTPUT,
    ),
]

Png = Annotated[
    str | None,
    typer.Option(
        "--png",
        metavar="PATH",
        help="Write a chart as PNG; a path ending in .svg or .pdf gets that format. For all "
        "formats, - is stdout.",
        rich_help_panel=_OUTPUT,
    ),
]

Svg = Annotated[
    str | None,
    typer.Option(
        "--svg",
        metavar="PATH",
        help="Write the chart as SVG.",
        rich_help_panel=_OUTPUT,
    ),
]

Html = Annotated[
    str | None,
    typer.Option(
        "--html",
        metavar="PATH",
        help="Write one self-contained page: verdict, charts, table, patterns, data.",
        rich_help_panel=_OUTPUT,
    ),
]

Chart = Annotated[
    str | None,
    typer.Option(
        "--chart",
        metavar="NAME",
        help="What charts show: growth, costs against length; breakdown, the parts of the MACs. "
        "[dim]default: growth[/]",
        rich_help_panel=_OUTPUT,
    ),
]

Details = Annotated[
    bool,
    typer.Option(
        "--details",
        help="Print everything: all columns, growth, crossover lengths, maximum lengths, notes.",
        rich_help_panel=_OUTPUT,
    ),
]

Explain = Annotated[
    bool,
    typer.Option(
        "--explain",
        help="Print the formulas with the numbers put in, term by term, with their sources.",
        rich_help_panel=_OUTPUT,
    ),
]


def passed_options(ctx: typer.Context) -> Any:
    """The options that were passed, by their Python names."""
    return {name: value for name, value in ctx.params.items() if value not in (None, [], ())}


def _len(default: str) -> Any:
    return typer.Option(
        "--len",
        metavar="N...",
        help="Lengths in tokens: 512 1024, 4k (k is 1,024, M is 1,048,576), 512:8192:x2, "
        f"512:4096:+512. [dim]default: {default}[/]",
        rich_help_panel=_WORKLOAD,
    )


Len = Annotated[list[str] | None, _len("512 1024 4096")]
AuditLen = Annotated[list[str] | None, _len("512 1024")]


def _kernel(default: str) -> Any:
    return typer.Option(
        "--kernel",
        metavar="NAME...",
        help="Kernels: names from [bold]attnprof kernels[/], or custom ones: pkg.mod:Net, a "
        "Hugging Face config.json, config.json::encoder.layer.0 for a part of its model. "
        f"[dim]default: {default}[/]",
        rich_help_panel=_WORKLOAD,
    )


Kernel = Annotated[
    list[str] | None, _kernel("bert-eager bert-sdpa longformer-hf longformer-banded")
]
AuditKernel = Annotated[list[str] | None, _kernel("all built-in kernels")]
