"""Options that commands share, with their help; `attnprof.options` reads the values."""

from __future__ import annotations

import shlex
from functools import partial
from typing import Annotated, Any

import typer

from attnprof.cli import completion
from attnprof.cli.configurable import COMMAND_LINE
from attnprof.cli.option_forms import WORKLOAD, flag, option
from attnprof.core.presets import MODELS

_INTEGER = "<int>"

_workload = partial(option, panel=WORKLOAD)


def kernel(default: str) -> Any:
    """The option --kernel."""
    return _workload(
        "--kernel",
        "NAME...",
        "Kernels: names from [bold]attnprof kernels[/], or custom ones: pkg.mod:Net, a "
        "Hugging Face config.json, config.json::encoder.layer.0 for a part of its model.",
        default=default,
        complete=completion.kernels,
    )


Kernel = Annotated[list[str] | None, kernel("bert-eager bert-sdpa longformer-hf longformer-banded")]
AuditKernel = Annotated[list[str] | None, kernel("all built-in kernels")]


def lengths(default: str) -> Any:
    """The option --len."""
    return _workload(
        "--len",
        "N...",
        "Lengths in tokens: 512 1024, 4k (k is 1,024, M is 1,048,576), 512:8192:x2, 512:4096:+512.",
        default=default,
    )


Len = Annotated[list[str] | None, lengths("512 1024 4096")]
AuditLen = Annotated[list[str] | None, lengths("512 1024")]


def window(default: str) -> Any:
    """The option --window."""
    return _workload(
        "--window",
        "W...",
        "Window size: keys around a query, half on each side; with --causal, the query's own and "
        "those before it. 255+0: keys before and after. 512x5:full: five layers and a dense one.",
        default=default,
    )


Window = Annotated[list[str] | None, window("512")]

Pattern = Annotated[
    list[str] | None,
    _workload(
        "--pattern",
        "NAME...",
        "In place of windows, any mask: bigbird, chunked, documents, longnet, prefix-lm, "
        "sparse-transformer-fixed, sparse-transformer-strided, or a function of FlexAttention's "
        "signature, as pkg.mod:mask_mod; with arguments bigbird:block=128:seed=1.",
        complete=completion.masks,
    ),
]

GlobalTokens = Annotated[
    list[str] | None,
    _workload(
        "--global-tokens",
        "G...",
        "Number of leading global tokens, or positions such as @0:17:40.",
        default="1",
    ),
]

Dilation = Annotated[
    list[str] | None,
    _workload(
        "--dilation",
        "D...",
        "Stride between the keys that a head attends to. 1x10:4x2 is ten heads at 1, two at 4.",
        default="1",
    ),
]

Model = Annotated[
    str | None,
    _workload(
        "--model",
        "NAME",
        f"Shape of a named model: {', '.join(model.name for model in MODELS)}. "
        "Other options override it.",
        default="bert-base",
        complete=completion.models,
    ),
]

Scope = Annotated[
    str | None,
    _workload(
        "--scope",
        "NAME",
        "attention; layer: plus the output projection and a feed-forward block four times as "
        "wide; stack: all layers of the model.",
        default="attention",
        complete=completion.scopes,
    ),
]

DType = Annotated[
    str | None,
    _workload(
        "--dtype",
        "NAME",
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
        f"auto, cpu or cuda; auto is {auto}.",
        panel=panel,
        default="auto",
        complete=completion.devices,
    )


Device = Annotated[str | None, device("CUDA if available")]
EstimateDevice = Annotated[str | None, device("cpu, or the device of --machine")]

Mode = Annotated[
    str | None,
    _workload(
        "--mode",
        "NAME",
        "inference (forward), training (forward and backward), or decode (new tokens at the end "
        "of --len, the others in a cache; causal).",
        default="inference",
        complete=completion.modes,
    ),
]

BatchSize = Annotated[
    str | None,
    _workload("--batch-size", _INTEGER, "Sequences in one call.", default="1"),
]

HiddenSize = Annotated[
    str | None,
    _workload(
        "--hidden-size", _INTEGER, "Width of a layer: heads times head_dim.", default="the model's"
    ),
]

NumHeads = Annotated[
    str | None,
    _workload("--num-heads", _INTEGER, "Attention heads of a layer.", default="the model's"),
]

KvHeads = Annotated[
    str | None,
    _workload(
        "--kv-heads",
        _INTEGER,
        "Heads of keys and values, shared by groups of query heads.",
        default="the model's; else as --num-heads",
    ),
]

HeadDim = Annotated[
    str | None,
    _workload(
        "--head-dim",
        _INTEGER,
        "Width of a head.",
        default="the model's; else hidden size / heads",
    ),
]

ValueDim = Annotated[
    str | None,
    _workload(
        "--value-dim",
        _INTEGER,
        "Width of a head of values.",
        default="the model's; else --head-dim",
    ),
]

Causal = Annotated[
    bool | None,
    flag("--causal", WORKLOAD, "No query attends to a later key; global tokens are sinks."),
]

NewTokens = Annotated[
    str | None,
    _workload(
        "--new-tokens",
        _INTEGER,
        "With --mode decode: new tokens in one call, the last ones of --len.",
        default="1, with decode",
    ),
]

Input = Annotated[
    list[str] | None,
    _workload(
        "--input",
        "NAME=DIMS...",
        "Shape of an input of a custom kernel: x=batch,len,hidden, ids=batch,len:int64<30522. "
        "Sizes: batch, len, hidden, heads, head_dim, numbers, len*2, hidden/4.",
        default="from the names of its arguments",
    ),
]

Sweep = Annotated[
    str | None,
    _workload(
        "--sweep",
        "PATH",
        "Study: a TOML file with a table grid of options such as len and dtype, each with one "
        "value or several, and lists of tables exclude and include. It selects all cases.",
    ),
]

Shard = Annotated[
    str | None,
    _workload(
        "--shard",
        "I/N",
        "Run one part of N: 2/8 is the second eighth. What is compared stays together; [bold]"
        "attnprof report[/] joins the parts.",
    ),
]

Machine = Annotated[
    str | None,
    _workload(
        "--machine",
        "PATH",
        "Machine profile written by [bold]attnprof doctor --json PATH[/]: predict times on "
        "it, and the maximum lengths that fit in its memory.",
    ),
]


def passed_options(ctx: typer.Context) -> Any:
    """The options that were passed, by their Python names."""
    return {name: value for name, value in ctx.params.items() if value not in (None, [], ())}


def typed_command(ctx: typer.Context) -> str:
    """The command line as typed, with the settings that were in effect, quoted for a shell."""
    return shlex.join(["attnprof", str(ctx.info_name), *ctx.meta[COMMAND_LINE]])
