"""`attnprof audit`."""

from __future__ import annotations

import typer

from attnprof.api import prepare_audit
from attnprof.cli import options
from attnprof.cli.saving import run_and_keep
from attnprof.core.errors import MeasurementError
from attnprof.measure.request import DEFAULT_TIMEOUT_SECONDS

UNEXPLAINED = 1
"""The exit code of an audit that leaves something unexplained."""


def audit(
    ctx: typer.Context,
    len: options.AuditLen = None,
    window: options.Window = None,
    dilation: options.Dilation = None,
    global_tokens: options.GlobalTokens = None,
    kernel: options.AuditKernel = None,
    input: options.Input = None,
    model: options.Model = None,
    scope: options.Scope = None,
    hidden_size: options.HiddenSize = None,
    num_heads: options.NumHeads = None,
    batch_size: options.BatchSize = None,
    dtype: options.DType = None,
    mode: options.Mode = None,
    no_peers: options.NoPeers = False,
    timeout: options.Timeout = str(DEFAULT_TIMEOUT_SECONDS),
    no_isolation: options.NoIsolation = False,
    csv: options.Csv = None,
    json: options.Json = None,
    markdown: options.Markdown = None,
) -> None:
    """Every counter against what is multiplied, each difference by name.

    Exit code 1 if a count is not explained.

    [dim]attnprof audit --kernel bert-sdpa longformer-hf --len 512 1024[/]
    """
    from attnprof.cli.screen import print_whole, progress, say
    from attnprof.report.audit import describe_missing_peers, render_audit

    with prepare_audit(options.given(ctx)) as request, progress() as observe:
        result, exit_code = run_and_keep(lambda: request.run(observe))
    if not request.outputs.takes_stdout:
        print_whole(render_audit(result))
    for case, reason in [*result.refusals, *result.failures]:
        say(f"{case.kernel} at {case.workload.seq_len:,}: {reason}")
    if result.missing_peers and not no_peers:
        say(describe_missing_peers(result))
    for path in request.outputs.written:
        say(f"written: {path}")
    if result.unexplained and not exit_code:
        raise typer.Exit(UNEXPLAINED)
    raise typer.Exit(MeasurementError.exit_code if result.failures else exit_code)
