"""Options of how costs are counted and measured, with their help."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from attnprof.cli.option_forms import MEASUREMENT, flag, option

_INTEGER = "<int>"
_NUMBER = "<float>"

_measurement = partial(option, panel=MEASUREMENT)

MaxSeconds = Annotated[
    str,
    _measurement(
        "--max-seconds",
        _NUMBER,
        "Seconds for the timed rounds of one length, all kernels together; at least four "
        "rounds run. Building, warm-up, counting and memory are not included. From 1 s on, the "
        "machine's rates are measured between the rounds.",
    ),
]

Precision = Annotated[
    str,
    _measurement(
        "--precision",
        _NUMBER,
        "Stop timing early once the 99 % interval of every ratio is narrower than this "
        "fraction of it and its verdict is clear.",
    ),
]

NoTime = Annotated[bool, flag("--no-time", MEASUREMENT, "Skip timing.")]
NoCount = Annotated[bool, flag("--no-count", MEASUREMENT, "Skip counters.")]
NoMemory = Annotated[bool, flag("--no-memory", MEASUREMENT, "Skip peak memory.")]
Formulas = Annotated[
    bool,
    flag(
        "--formulas",
        MEASUREMENT,
        "Audit published formulas (PaLM, nanoGPT, torchtitan, Megatron-LM, FlashAttention, "
        "transformers, Chinchilla) instead of counters; by default whole layers at 4,096 tokens.",
    ),
]
VocabSize = Annotated[
    str | None,
    _measurement(
        "--vocab-size",
        _INTEGER,
        "With --formulas: size of the vocabulary, whose logits some formulas include.",
    ),
]
NoPeers = Annotated[bool, flag("--no-peers", MEASUREMENT, "Skip installed third-party counters.")]

Threads = Annotated[
    str | None,
    _measurement("--threads", _INTEGER, "CPU threads.", default="torch's choice"),
]

DryRun = Annotated[
    bool,
    flag(
        "--dry-run",
        MEASUREMENT,
        "List the cases with their predicted time and memory, and totals; nothing is measured. "
        "Times are predicted with --machine, or from what --json has already.",
    ),
]

AllowSlow = Annotated[
    bool,
    flag(
        "--allow-slow",
        MEASUREMENT,
        "Also run cases that are otherwise skipped because one call is predicted to take more "
        "than twice --max-seconds.",
    ),
]

CheckAgainst = Annotated[
    str | None,
    _measurement(
        "--check-against",
        "NAME",
        "Reference for custom kernels, as pkg.mod:reference, called with the same inputs: a "
        "kernel whose output differs is [bold]wrong[/] and not timed. Built-in kernels are always "
        "checked against their pattern.",
    ),
]


def _timeout(what: str) -> Any:
    return _measurement("--timeout", _NUMBER, f"Time limit in seconds for {what}.")


Timeout = Annotated[str, _timeout("one count, memory measurement or timed call")]
CountTimeout = Annotated[str, _timeout("building and counting one custom kernel")]

NoIsolation = Annotated[
    bool,
    flag(
        "--no-isolation",
        MEASUREMENT,
        "Run in this process (for debuggers); a crash then ends the run.",
    ),
]

Dask = Annotated[
    str | None,
    _measurement(
        "--dask",
        "CLUSTER",
        "Measure on the workers of a Dask cluster: local:N for N processes of this machine, one "
        "for each GPU, or the address of a scheduler, such as tcp://host:8786.",
        default="this process's machine, one case at a time",
    ),
]

AllowOtherVersions = Annotated[
    bool,
    flag(
        "--allow-other-versions",
        MEASUREMENT,
        "With --dask: also use workers with another version of Python, torch or attnprof.",
    ),
]
