"""Options that commands share, with their help; `attnprof.options` reads the values."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Annotated, Any

import typer

from attnprof.cli import completion
from attnprof.cli.plain_options import TYPED, with_default

_INTEGER = "<int>"
_NUMBER = "<float>"

WORKLOAD = "Workload"
MEASUREMENT = "Measurement"
OUTPUT = "Output"
"""Panels of the help."""


def option(
    name: str,
    metavar: str,
    panel: str | None,
    help: str,
    *,
    default: str = "",
    complete: Callable[..., Any] | None = None,
) -> Any:
    """An option with a value, whose help ends with its default.

    Args:
        name: on the command line.
        metavar: what stands for the value.
        panel: of the help; None for the general one.
        help: one or two sentences.
        default: what the value is without the option, where its Python default is None.
        complete: the values that a shell completes; None for paths and numbers.
    """
    return typer.Option(
        name,
        metavar=metavar,
        help=with_default(help, default),
        rich_help_panel=panel,
        autocompletion=complete,
    )


def _flag(name: str, panel: str, help: str) -> Any:
    return typer.Option(name, help=help, rich_help_panel=panel)


def _kernel(default: str) -> Any:
    return option(
        "--kernel",
        "NAME...",
        WORKLOAD,
        "Kernels: names from [bold]attnprof kernels[/], or custom ones: pkg.mod:Net, a "
        "Hugging Face config.json, config.json::encoder.layer.0 for a part of its model.",
        default=default,
        complete=completion.kernels,
    )


Kernel = Annotated[
    list[str] | None, _kernel("bert-eager bert-sdpa longformer-hf longformer-banded")
]
AuditKernel = Annotated[list[str] | None, _kernel("all built-in kernels")]


def _len(default: str) -> Any:
    return option(
        "--len",
        "N...",
        WORKLOAD,
        "Lengths in tokens: 512 1024, 4k (k is 1,024, M is 1,048,576), 512:8192:x2, 512:4096:+512.",
        default=default,
    )


Len = Annotated[list[str] | None, _len("512 1024 4096")]
AuditLen = Annotated[list[str] | None, _len("512 1024")]

Window = Annotated[
    list[str] | None,
    option(
        "--window",
        "W...",
        WORKLOAD,
        "Window size: keys around a query, half on each side. 32:64:128 is a stack of three "
        "layers.",
        default="512",
    ),
]

GlobalTokens = Annotated[
    list[str] | None,
    option(
        "--global-tokens",
        "G...",
        WORKLOAD,
        "Number of leading global tokens, or positions such as @0:17:40.",
        default="1",
    ),
]

Dilation = Annotated[
    list[str] | None,
    option(
        "--dilation",
        "D...",
        WORKLOAD,
        "Stride between the keys that a head attends to. 1x10:4x2 is ten heads at 1, two at 4.",
        default="1",
    ),
]

Model = Annotated[
    str | None,
    option(
        "--model",
        "NAME",
        WORKLOAD,
        "Shape of a named model: bert-base, bert-large, longformer-base-4096, "
        "longformer-large-4096, longformer-char-lm. Other options override it.",
        default="bert-base",
        complete=completion.models,
    ),
]

Scope = Annotated[
    str | None,
    option(
        "--scope",
        "NAME",
        WORKLOAD,
        "attention; layer: plus the output projection and a feed-forward block four times as "
        "wide; stack: all layers of the model.",
        default="attention",
        complete=completion.scopes,
    ),
]

DType = Annotated[
    str | None,
    option(
        "--dtype",
        "NAME",
        WORKLOAD,
        "float32, float64, bfloat16 or float16.",
        default="float32",
        complete=completion.dtypes,
    ),
]


def device(auto: str, panel: str | None = WORKLOAD) -> Any:
    """The option --device.

    Args:
        auto: what `auto` is.
        panel: of the help.
    """
    return option(
        "--device",
        "NAME",
        panel,
        f"auto, cpu or cuda; auto is {auto}.",
        default="auto",
        complete=completion.devices,
    )


Device = Annotated[str | None, device("CUDA if available")]
EstimateDevice = Annotated[str | None, device("cpu, or the device of --machine")]

Mode = Annotated[
    str | None,
    option(
        "--mode",
        "NAME",
        WORKLOAD,
        "inference (forward) or training (forward and backward).",
        default="inference",
        complete=completion.modes,
    ),
]

BatchSize = Annotated[
    str | None,
    option("--batch-size", _INTEGER, WORKLOAD, "Sequences in one call.", default="1"),
]

HiddenSize = Annotated[
    str | None,
    option(
        "--hidden-size",
        _INTEGER,
        WORKLOAD,
        "Width of a layer: heads times head_dim.",
        default="the model's",
    ),
]

NumHeads = Annotated[
    str | None,
    option("--num-heads", _INTEGER, WORKLOAD, "Attention heads of a layer.", default="the model's"),
]

Input = Annotated[
    list[str] | None,
    option(
        "--input",
        "NAME=DIMS...",
        WORKLOAD,
        "Shape of an input of a custom kernel: x=batch,len,hidden, ids=batch,len:int64<30522. "
        "Sizes: batch, len, hidden, heads, head_dim, numbers, len*2, hidden/4.",
        default="from the names of its arguments",
    ),
]

Machine = Annotated[
    str | None,
    option(
        "--machine",
        "PATH",
        WORKLOAD,
        "Machine profile written by [bold]attnprof doctor --json PATH[/]: predict times on "
        "it, and the maximum lengths that fit in its memory.",
    ),
]

MaxSeconds = Annotated[
    str,
    option(
        "--max-seconds",
        _NUMBER,
        MEASUREMENT,
        "Seconds for the timed rounds of one length, all kernels together; at least four "
        "rounds run. Building, warm-up, counting and memory are not included.",
    ),
]

Precision = Annotated[
    str,
    option(
        "--precision",
        _NUMBER,
        MEASUREMENT,
        "Stop timing early once the 99 % interval of every ratio is narrower than this "
        "fraction of it and its verdict is clear.",
    ),
]

NoTime = Annotated[bool, _flag("--no-time", MEASUREMENT, "Skip timing.")]
NoCount = Annotated[bool, _flag("--no-count", MEASUREMENT, "Skip counters.")]
NoMemory = Annotated[bool, _flag("--no-memory", MEASUREMENT, "Skip peak memory.")]
NoPeers = Annotated[bool, _flag("--no-peers", MEASUREMENT, "Skip installed third-party counters.")]

Threads = Annotated[
    str | None,
    option("--threads", _INTEGER, MEASUREMENT, "CPU threads.", default="torch's choice"),
]

AllowSlow = Annotated[
    bool,
    _flag(
        "--allow-slow",
        MEASUREMENT,
        "Also run cases that are otherwise skipped because one call is predicted to take more "
        "than twice --max-seconds.",
    ),
]

CheckAgainst = Annotated[
    str | None,
    option(
        "--check-against",
        "NAME",
        MEASUREMENT,
        "Reference for custom kernels, as pkg.mod:reference, called with the same inputs: a "
        "kernel whose output differs is [bold]wrong[/] and not timed. Built-in kernels are always "
        "checked against their pattern.",
    ),
]


def _timeout(what: str) -> Any:
    return option("--timeout", _NUMBER, MEASUREMENT, f"Time limit in seconds for {what}.")


Timeout = Annotated[str, _timeout("one count, memory measurement or timed call")]
CountTimeout = Annotated[str, _timeout("building and counting one custom kernel")]

NoIsolation = Annotated[
    bool,
    _flag(
        "--no-isolation",
        MEASUREMENT,
        "Run in this process (for debuggers); a crash then ends the run.",
    ),
]

Details = Annotated[
    bool,
    _flag(
        "--details",
        OUTPUT,
        "Print everything: all columns, growth, crossover lengths, maximum lengths, notes.",
    ),
]

Explain = Annotated[
    bool,
    _flag(
        "--explain",
        OUTPUT,
        "Print the formulas with the numbers put in, term by term, with their sources.",
    ),
]


def path(name: str, help: str) -> Any:
    """An option that names a file for the results."""
    return option(name, "PATH", OUTPUT, help)


Html = Annotated[
    str | None,
    path("--html", "Write one self-contained page: verdict, charts, table, patterns, data."),
]
Png = Annotated[
    str | None,
    path(
        "--png",
        "Write a chart as PNG; a path ending in .svg or .pdf gets that format. For all "
        "formats, - is stdout.",
    ),
]
Svg = Annotated[str | None, path("--svg", "Write the chart as SVG.")]

Chart = Annotated[
    str | None,
    option(
        "--chart",
        "NAME",
        OUTPUT,
        "What charts show: growth, costs against length; breakdown, the parts of the MACs.",
        default="growth",
        complete=completion.charts,
    ),
]

Markdown = Annotated[str | None, path("--markdown", "Write table and findings as Markdown.")]
Csv = Annotated[str | None, path("--csv", "Write CSV, one row per kernel and workload.")]
TableCsv = Annotated[str | None, path("--csv", "Write the table as CSV; - is stdout.")]
Json = Annotated[str | None, path("--json", "Write rows and environment as JSON.")]
TableJson = Annotated[str | None, path("--json", "Write the table as JSON; - is stdout.")]
CompareJson = Annotated[
    str | None,
    path(
        "--json",
        "Write rows and environment as JSON; each record is also appended to a .jsonl file of the "
        "same name, as it is measured.",
    ),
]

Resume = Annotated[
    bool,
    _flag(
        "--resume",
        OUTPUT,
        "Resume the run that wrote --json; finished measurements are kept, except times whose "
        "verdict was withheld.",
    ),
]


def passed_options(ctx: typer.Context) -> Any:
    """The options that were passed, by their Python names."""
    return {name: value for name, value in ctx.params.items() if value not in (None, [], ())}


def typed_command(ctx: typer.Context) -> str:
    """The command line as it was typed, quoted for a shell."""
    return shlex.join(["attnprof", str(ctx.info_name), *ctx.meta[TYPED]])
