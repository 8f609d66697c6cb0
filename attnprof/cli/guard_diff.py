"""`attnprof guard diff`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attnprof.cli import options
from attnprof.cli.guard_options import Config, Format, Timeout
from attnprof.cli.guard_output import (
    check_format,
    ends_cleanly,
    show_text,
    write_github,
    write_verdict,
)
from attnprof.cli.plain_options import CommandLineError
from attnprof.core.errors import UsageError

if TYPE_CHECKING:
    from attnprof.guard.diff import Diff
    from attnprof.guard.revision_targets import Revisions
    from attnprof.options import GridOptions

_Base = Annotated[
    str | None,
    typer.Argument(
        metavar="BASE",
        help="Revision to compare with: a branch, a tag or a commit.",
        show_default=False,
    ),
]
_Head = Annotated[
    str | None,
    typer.Argument(
        metavar="HEAD",
        help="Revision to judge; by default the files as they are, uncommitted changes included.",
        show_default=False,
    ),
]
_Kernel = Annotated[list[str] | None, options.kernel("none, but the contracts")]
_NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Measure the base again, even if it has been measured.")
]
_Time = Annotated[
    bool, typer.Option("--time", help="Also time both revisions in turn, in paired rounds.")
]
_Strict = Annotated[
    bool, typer.Option("--strict", help="With --time, treat a slower target as a failure.")
]


def diff(
    ctx: typer.Context,
    base: _Base = None,
    head: _Head = None,
    config: Config = None,
    format: Format = "text",
    timeout: Timeout = None,
    time: _Time = False,
    strict: _Strict = False,
    no_cache: _NoCache = False,
    kernel: _Kernel = None,
    len: options.Len = None,
    window: options.Window = None,
    pattern: options.Pattern = None,
    dilation: options.Dilation = None,
    global_tokens: options.GlobalTokens = None,
    model: options.Model = None,
    hidden_size: options.HiddenSize = None,
    num_heads: options.NumHeads = None,
    kv_heads: options.KvHeads = None,
    head_dim: options.HeadDim = None,
    value_dim: options.ValueDim = None,
    causal: options.Causal = None,
    batch_size: options.BatchSize = None,
    dtype: options.DType = None,
    mode: options.Mode = None,
    scope: options.Scope = None,
    new_tokens: options.NewTokens = None,
    input: options.Input = None,
) -> None:
    """Compare the costs of two revisions: what a pull request does to them. Needs no lock.

    Example: [bold]attnprof guard diff main[/]

    Exit code 1 if a contract is broken, 2 if one is misconfigured, 3 if one could not be measured.
    With --kernel, any target is compared instead, without limits.

    On GitHub Actions, also writes annotations and the step summary.
    """
    from attnprof.core.option_values import read_seconds
    from attnprof.guard.check import DEFAULT_TIMEOUT_S
    from attnprof.guard.revision_targets import options_of, targets

    check_format(format)
    chosen = options_of(options.passed_options(ctx))
    seconds = read_seconds("timeout", timeout, DEFAULT_TIMEOUT_S)
    _check_pairing(chosen, config)
    if chosen:
        targets(chosen)
    if strict and not time:
        raise CommandLineError("--strict: applies to times; add --time")
    choices = _Choices(config, chosen, seconds, time, strict, no_cache)
    result = _compare(_revisions(base, head, config), choices)
    _write(result, format)
    raise typer.Exit(result.exit_code)


@dataclass(frozen=True, slots=True)
class _Choices:
    """The options, read."""

    config: str | None
    targets: GridOptions
    timeout: float
    time: bool
    strict: bool
    no_cache: bool


def _check_pairing(chosen: Any, config: str | None) -> None:
    """Refuse options of targets without a target, or beside contracts.

    Raises:
        UsageError: for the first of them.
    """
    if chosen and "kernel" not in chosen:
        name, value = next(iter(chosen.items()))
        shown = " ".join(value) if isinstance(value, list) else value
        raise UsageError(name, shown, "applies to targets of --kernel; contracts have their own")
    if chosen and config is not None:
        raise UsageError("config", config, "contracts and --kernel are compared separately")


def _revisions(base: str | None, head: str | None, config: str | None) -> Revisions:
    """The revisions that the user named.

    Raises:
        UsageError: when one is missing or unknown, or there is no repository.
    """
    from attnprof.guard.revision_targets import Revisions
    from attnprof.guard.revisions import find_repository

    if base is None:
        raise UsageError("base", "BASE", "name the revision to compare with, such as main")
    folder = Path.cwd() if config is None else Path(config).resolve().parent
    repository = find_repository(folder if folder.is_dir() else Path.cwd())
    judged = repository.checkout() if head is None else repository.revision("head", head)
    return Revisions(repository, repository.revision("base", base), judged)


def _compare(revisions: Revisions, choices: _Choices) -> Diff:
    from attnprof.cli.progress import progress
    from attnprof.guard.check import workers_for
    from attnprof.guard.diff import Timing
    from attnprof.guard.diff import diff as compare
    from attnprof.guard.revision_costs import Costs, open_cache
    from attnprof.guard.revision_targets import contracts_of, targets_of
    from attnprof.guard.revisions import worktrees

    with ends_cleanly(), progress() as observe, worktrees(revisions.repository) as trees:
        if choices.targets:
            pair = targets_of(revisions, trees, choices.targets)
        else:
            pair = contracts_of(revisions, trees, choices.config)
        cache = open_cache(revisions.repository, _warn, is_used=not choices.no_cache)
        with workers_for(pair.contracts, project=pair.repository.root) as workers:
            costs = Costs(pair, trees, workers, cache, observe)
            timing = Timing(choices.time, choices.strict)
            return compare(pair, costs, timing, choices.timeout)


def _warn(text: str) -> None:
    from attnprof.cli.console import echo_err

    echo_err(f"attnprof: {text}")


def _write(result: Diff, format: str) -> None:
    from attnprof.guard.reports import DIFF_FORMATS, diff_markdown, diff_text, github

    if format == "text":
        write_verdict(
            lambda: show_text(lambda width: diff_text.render(result, width)), result.exit_code
        )
    else:
        write_verdict(lambda: sys.stdout.write(DIFF_FORMATS[format](result)), result.exit_code)
    write_github(
        format,
        lambda: github.render(result.as_check()),
        lambda: diff_markdown.render(result),
    )
