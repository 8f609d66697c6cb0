"""`attnprof kernels`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from attnprof import kernels as all_kernels
from attnprof.cli import options
from attnprof.options import GridOptions, read_cases, read_device_name, reject_unknown_options

if TYPE_CHECKING:
    from rich.text import Text


@dataclass(frozen=True, slots=True)
class KernelListing:
    """A kernel, and why it cannot be built; `reason` is empty if it can."""

    name: str
    summary: str
    reason: str


def prepare_kernels(options: GridOptions) -> list[KernelListing]:
    """All kernels, and whether they support what the options describe.

    Of several lengths or patterns, the first that a kernel does not support decides.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    from attnprof.measure import environment

    reject_unknown_options(options, GridOptions)
    device = environment.resolve_device(read_device_name(options))
    cases = read_cases({**options, "kernel": all_kernels.names()}, device)
    listings: list[KernelListing] = []
    for name in all_kernels.names():
        kernel = all_kernels.find(name)
        reasons = (
            kernel.unsupported_reason(case.workload) for case in cases if case.kernel == name
        )
        refusal = next((reason for reason in reasons if reason), "")
        listings.append(KernelListing(name, kernel.summary, refusal))
    return listings


def kernels(
    ctx: typer.Context,
    len: options.Len = None,
    window: options.Window = None,
    pattern: options.Pattern = None,
    global_tokens: options.GlobalTokens = None,
    dilation: options.Dilation = None,
    model: options.Model = None,
    scope: options.Scope = None,
    dtype: options.DType = None,
    device: options.Device = None,
    mode: options.Mode = None,
    batch_size: options.BatchSize = None,
    hidden_size: options.HiddenSize = None,
    num_heads: options.NumHeads = None,
    kv_heads: options.KvHeads = None,
    head_dim: options.HeadDim = None,
    value_dim: options.ValueDim = None,
    causal: options.Causal = None,
    new_tokens: options.NewTokens = None,
) -> None:
    """List the kernels, and why some cannot be built here or for these options.

    Example: [bold]attnprof kernels --dilation 4[/]
    """
    from attnprof.cli.console import print_uncropped, table_width

    listings = prepare_kernels(options.passed_options(ctx))
    print_uncropped(render_listings(listings, table_width()))


def render_listings(listings: Sequence[KernelListing], width: int) -> Text:
    """One row for each kernel; descriptions and reasons wrap between words.

    Args:
        listings: the kernels.
        width: of the table, in characters.
    """
    from attnprof.report.text_table import TextRow, fit_table

    rows = [TextRow((kernel.name, kernel.summary, kernel.reason or "yes")) for kernel in listings]
    return fit_table(("kernel", "description", "can be built"), rows, width, prose=(1, 2))
