"""The options that commands share, with their help; values are read by `attnprof.options`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

_INTEGER = "<int>"

_NUMBER = "<float>"

_WHAT = "What to cost"

_MEASURE = "Measuring"

_OUTPUT = "Output"

Window = Annotated[
    list[str] | None,
    typer.Option(
        "--window",
        metavar="W...",
        help="Keys around a query, half on each side. 32:64:128 is a stack of three layers. "
        "[dim]default: 512[/]",
        rich_help_panel=_WHAT,
    ),
]

Dilation = Annotated[
    list[str] | None,
    typer.Option(
        "--dilation",
        metavar="D...",
        help="Stride between the keys that a head reads. 1x10:4x2 is ten heads at 1, two at 4. "
        "[dim]default: 1[/]",
        rich_help_panel=_WHAT,
    ),
]

GlobalTokens = Annotated[
    list[str] | None,
    typer.Option(
        "--global-tokens",
        metavar="G...",
        help="How many first tokens are global; @0:17:40 names positions. [dim]default: 1[/]",
        rich_help_panel=_WHAT,
    ),
]

Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="NAME=DIMS...",
        help="An input of your own kernel: x=batch,len,hidden, ids=batch,len:int64<30522. Sizes: "
        "batch, len, hidden, heads, head_dim, numbers, len*2, hidden/4. "
        "[dim]default: by the names of its arguments[/]",
        rich_help_panel=_WHAT,
    ),
]

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="A named shape: bert-base, bert-large, longformer-base-4096, longformer-large-4096, "
        "longformer-char-lm. Other options override it. [dim]default: bert-base[/]",
        rich_help_panel=_WHAT,
    ),
]

HiddenSize = Annotated[
    str | None,
    typer.Option(
        "--hidden-size", metavar=_INTEGER, help="Width of a layer.", rich_help_panel=_WHAT
    ),
]

NumHeads = Annotated[
    str | None,
    typer.Option("--num-heads", metavar=_INTEGER, help="Heads of a layer.", rich_help_panel=_WHAT),
]

BatchSize = Annotated[
    str | None,
    typer.Option(
        "--batch-size",
        metavar=_INTEGER,
        help="Sequences in one call. [dim]default: 1[/]",
        rich_help_panel=_WHAT,
    ),
]

DType = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="NAME",
        help="float32, float64, bfloat16 or float16. [dim]default: float32[/]",
        rich_help_panel=_WHAT,
    ),
]

Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="auto, cpu or cuda; auto is CUDA where there is one (for estimate, cpu). "
        "[dim]default: auto[/]",
        rich_help_panel=_WHAT,
    ),
]

Mode = Annotated[
    str | None,
    typer.Option(
        "--mode",
        metavar="NAME",
        help="inference, or training: forward and backward. [dim]default: inference[/]",
        rich_help_panel=_WHAT,
    ),
]

Scope = Annotated[
    str | None,
    typer.Option(
        "--scope",
        metavar="NAME",
        help="attention; layer: with the output projection and a feed-forward four times as wide; "
        "stack: whole layers, as many as the model has. [dim]default: attention[/]",
        rich_help_panel=_WHAT,
    ),
]

Machine = Annotated[
    str | None,
    typer.Option(
        "--machine",
        metavar="PATH",
        help="A machine that [bold]attnprof doctor --json PATH[/] has stored: predicts time on it, "
        "and the longest lengths that fit.",
        rich_help_panel=_WHAT,
    ),
]

NoCount = Annotated[
    bool, typer.Option("--no-count", help="Run no counters.", rich_help_panel=_MEASURE)
]

NoTime = Annotated[bool, typer.Option("--no-time", help="Time nothing.", rich_help_panel=_MEASURE)]

NoMemory = Annotated[
    bool, typer.Option("--no-memory", help="Measure no peak memory.", rich_help_panel=_MEASURE)
]

NoPeers = Annotated[
    bool,
    typer.Option(
        "--no-peers",
        help="Leave out other tools that are installed.",
        rich_help_panel=_MEASURE,
    ),
]

MaxSeconds = Annotated[
    str,
    typer.Option(
        "--max-seconds",
        metavar=_NUMBER,
        help="Time for the timed rounds of one length, all kernels together; four rounds run in "
        "any case. Building, warm-up, counting and memory take their time beside it.",
        rich_help_panel=_MEASURE,
    ),
]

AllowSlow = Annotated[
    bool,
    typer.Option(
        "--allow-slow",
        help="Also run what is skipped otherwise: cases that are predicted to take more than twice "
        "--max-seconds for one call, whether it is to be counted, timed or looked at for memory.",
        rich_help_panel=_MEASURE,
    ),
]

Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar=_NUMBER,
        help="Rounds end earlier once each ratio's 99 % interval is narrower than this part of it, "
        "and clear.",
        rich_help_panel=_MEASURE,
    ),
]

Timeout = Annotated[
    str,
    typer.Option(
        "--timeout",
        metavar=_NUMBER,
        help="Seconds after which one count, memory measurement or timed call is given up.",
        rich_help_panel=_MEASURE,
    ),
]

Threads = Annotated[
    str | None,
    typer.Option(
        "--threads",
        metavar=_INTEGER,
        help="Threads that the CPU computes with. [dim]default: torch's own choice[/]",
        rich_help_panel=_MEASURE,
    ),
]

NoIsolation = Annotated[
    bool,
    typer.Option(
        "--no-isolation",
        help="Run everything in this process, as a debugger needs it: what kills a case then "
        "kills all.",
        rich_help_panel=_MEASURE,
    ),
]

CheckAgainst = Annotated[
    str | None,
    typer.Option(
        "--check-against",
        metavar="NAME",
        help="What your own kernel should compute, as pkg.mod:reference, called with the same "
        "inputs: a kernel that differs is [bold]wrong[/] and not timed. Built-in kernels are "
        "always checked, against their pattern.",
        rich_help_panel=_MEASURE,
    ),
]

Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with the run that wrote the file of --json: nothing that it has is measured "
        "again, but times whose verdict was withheld.",
        rich_help_panel=_OUTPUT,
    ),
]

Csv = Annotated[
    str | None,
    typer.Option(
        "--csv",
        metavar="PATH",
        help="One row for each kernel and workload.",
        rich_help_panel=_OUTPUT,
    ),
]

Json = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="PATH",
        help="The rows and the machine. [bold]compare[/] keeps each record beside it, in a .jsonl, "
        "as it is taken.",
        rich_help_panel=_OUTPUT,
    ),
]

Markdown = Annotated[
    str | None,
    typer.Option(
        "--markdown", metavar="PATH", help="The table and what follows.", rich_help_panel=_OUTPUT
    ),
]

Png = Annotated[
    str | None,
    typer.Option(
        "--png",
        metavar="PATH",
        help="The picture. For all four formats, - is stdout.",
        rich_help_panel=_OUTPUT,
    ),
]


def passed_options(ctx: typer.Context) -> Any:
    """The options that were given, by their names in Python; lists that were not are empty."""
    return {name: value for name, value in ctx.params.items() if value not in (None, [], ())}


def _len(default: str) -> Any:
    return typer.Option(
        "--len",
        metavar="N...",
        help="Lengths in tokens: 512 1024, 4k (k is 1,024, M is 1,048,576), 512:8192:x2, "
        f"512:4096:+512. [dim]default: {default}[/]",
        rich_help_panel=_WHAT,
    )


Len = Annotated[list[str] | None, _len("512 1024 4096")]
AuditLen = Annotated[list[str] | None, _len("512 1024")]


def _kernel(default: str) -> Any:
    return typer.Option(
        "--kernel",
        metavar="NAME...",
        help="What to run, see [bold]attnprof kernels[/]; or your own: pkg.mod:Net, a Hugging "
        "Face config.json, config.json::encoder.layer.0 for a part. "
        f"[dim]default: {default}[/]",
        rich_help_panel=_WHAT,
    )


Kernel = Annotated[
    list[str] | None, _kernel("bert-eager bert-sdpa longformer-hf longformer-banded")
]
AuditKernel = Annotated[list[str] | None, _kernel("all that attnprof has")]
