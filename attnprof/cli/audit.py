"""`attnprof audit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from attnprof import kernels
from attnprof.cli import measurement_options, options, output_options
from attnprof.cli.saving import run_and_save
from attnprof.core.errors import MeasurementError, UsageError
from attnprof.core.workload import Case
from attnprof.measure import Observer
from attnprof.measure.request import (
    DEFAULT_TIMEOUT_SECONDS,
    IsolationOptions,
    Request,
    open_kernel_processes,
)
from attnprof.options import (
    GridOptions,
    read_cases,
    read_counting_device,
    reject_unknown_options,
)
from attnprof.report.outputs import OutputOptions, Outputs

if TYPE_CHECKING:
    from attnprof.analysis.audit_table import AuditTable

UNEXPLAINED = 1
"""Exit code of an audit with counts that are not explained."""

AUDIT_LENGTHS = (512, 1024)


class AuditOptions(GridOptions, IsolationOptions, total=False):
    """Options of `attnprof audit`."""

    no_peers: bool
    formulas: bool
    vocab_size: int | None
    csv: str | None
    json: str | None
    markdown: str | None


@dataclass(slots=True)
class AuditRequest(Request):
    """An audit, checked and ready to run."""

    cases: tuple[Case, ...]
    outputs: Outputs[AuditTable]
    peers: tuple[str, ...]

    def run(self, observe: Observer = lambda activity, done: None) -> AuditTable:
        """Count, explain, and write the requested outputs."""
        from attnprof.measure.audit import audit

        result = audit(self.cases, self.peers, observe)
        self.outputs.save(result)
        return result


def prepare_audit(options: AuditOptions) -> AuditRequest:
    """Check the options of an audit; by default of all built-in kernels, at 512 and 1,024 tokens.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    reject_unknown_options(options, AuditOptions)
    if options.get("vocab_size") is not None:
        raise UsageError("vocab_size", options.get("vocab_size"), "needs --formulas")
    grid: GridOptions = {"len": AUDIT_LENGTHS, "kernel": kernels.names(), **options}
    paths: OutputOptions = {
        "csv": options.get("csv"),
        "json": options.get("json"),
        "markdown": options.get("markdown"),
    }

    from attnprof.analysis.audit_table import AuditTable
    from attnprof.measure.audit import installed_peers

    def markdown(result: AuditTable) -> str:
        from attnprof.report.audit import render_audit_markdown

        return render_audit_markdown(result)

    outputs = Outputs[AuditTable].read(
        paths, {"csv": AuditTable.to_csv, "json": AuditTable.to_json, "markdown": markdown}
    )
    peers = () if options.get("no_peers") else installed_peers()
    device = read_counting_device(options)
    with open_kernel_processes(grid) as stack:
        return AuditRequest(read_cases(grid, device), outputs, peers, stack=stack.pop_all())


def audit(
    ctx: typer.Context,
    kernel: options.AuditKernel = None,
    len: options.AuditLen = None,
    window: options.Window = None,
    pattern: options.Pattern = None,
    global_tokens: options.GlobalTokens = None,
    dilation: options.Dilation = None,
    model: options.Model = None,
    scope: options.Scope = None,
    dtype: options.DType = None,
    device: options.CountDevice = None,
    mode: options.Mode = None,
    batch_size: options.BatchSize = None,
    hidden_size: options.HiddenSize = None,
    num_heads: options.NumHeads = None,
    kv_heads: options.KvHeads = None,
    head_dim: options.HeadDim = None,
    value_dim: options.ValueDim = None,
    causal: options.Causal = None,
    new_tokens: options.NewTokens = None,
    input: options.Input = None,
    formulas: measurement_options.Formulas = False,
    vocab_size: measurement_options.VocabSize = None,
    no_peers: measurement_options.NoPeers = False,
    timeout: measurement_options.CountTimeout = f"{DEFAULT_TIMEOUT_SECONDS:g}",
    no_isolation: measurement_options.NoIsolation = False,
    markdown: output_options.Markdown = None,
    csv: output_options.TableCsv = None,
    json: output_options.TableJson = None,
) -> None:
    """Check every counter against the operator-level count and name each difference.

    Example: [bold]attnprof audit --kernel bert-sdpa longformer-hf --len 512 1024[/]

    With --formulas: published cost formulas instead, against useful and executed MACs.

    Exit code 1 if a difference is not explained.
    """
    if formulas:
        _audit_formulas(ctx)
        return
    from attnprof.analysis.uncounted import uncounted_messages
    from attnprof.cli.console import echo_err, print_uncropped, table_width
    from attnprof.cli.progress import progress
    from attnprof.report.audit import describe_missing_peers, render_audit

    with progress() as observe, prepare_audit(options.passed_options(ctx)) as request:
        result, exit_code = run_and_save(lambda: request.run(observe))
    if not request.outputs.takes_stdout:
        print_uncropped(render_audit(result, table_width()))
    for message in uncounted_messages([*result.refusals, *result.failures]):
        echo_err(message)
    if result.missing_peers and not no_peers:
        echo_err(describe_missing_peers(result))
    for path in request.outputs.written:
        echo_err(f"written: {path}")
    if result.unexplained and not exit_code:
        raise typer.Exit(UNEXPLAINED)
    raise typer.Exit(MeasurementError.exit_code if result.failures else exit_code)


def _audit_formulas(ctx: typer.Context) -> None:
    from attnprof.analysis.uncounted import uncounted_messages
    from attnprof.cli.console import echo_err, print_uncropped, table_width
    from attnprof.cli.formula_audit import prepare_formula_audit
    from attnprof.report.formula_audit import render_formula_audit

    passed = options.passed_options(ctx)
    reject_unknown_options(passed, AuditOptions)
    request = prepare_formula_audit(passed)
    result, exit_code = run_and_save(request.run)
    if not request.outputs.takes_stdout:
        print_uncropped(render_formula_audit(result, table_width()))
    for message in uncounted_messages(result.refusals) if "kernel" in passed else ():
        echo_err(message)
    for path in request.outputs.written:
        echo_err(f"written: {path}")
    raise typer.Exit(UNEXPLAINED if result.unexplained and not exit_code else exit_code)
