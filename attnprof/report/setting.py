"""The shape and pattern of workloads in words, for the headings of reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attnprof import kernels
from attnprof.core.notation import (
    format_dilation,
    format_global_tokens,
    format_window,
    shorten_positions,
)
from attnprof.core.pattern import Pattern
from attnprof.core.result_table import ResultTable, describe_extent
from attnprof.core.workload import Workload

_PATTERN_FIELDS: tuple[tuple[str, Callable[[Pattern], str]], ...] = (
    ("window", format_window),
    ("dilation", format_dilation),
    ("global tokens", lambda pattern: shorten_positions(format_global_tokens(pattern))),
)


def describe_subject(table: ResultTable) -> str:
    """What the rows cost, as a heading: `Self-attention`, or `Encoder` for whole layers."""
    has_layers = any(row.workload.scope == "layer" for row in table.rows)
    return "Encoder" if has_layers else "Self-attention"


def describe_setting(table: ResultTable) -> str:
    """The shape and pattern that the rows share, in one line."""
    rows = table.rows
    if not rows:
        return "no cases"
    workload = rows[0].workload
    shapes = dict.fromkeys(describe_shape(row.workload) for row in rows)
    extents = dict.fromkeys(describe_extent(row.workload) for row in rows)
    setting = (
        f"{''.join(f'{extent}, ' for extent in extents if extent)}{' and '.join(shapes)}, "
        f"batch {workload.batch_size}, {workload.dtype}, {workload.device}, {workload.mode}"
    )
    built_in = [row.workload for row in rows if row.kernel in kernels.names()]
    sparse = [workload for workload in built_in if not workload.is_dense]
    pattern = describe_pattern(sparse) if sparse else "dense" if built_in else ""
    return f"{setting}; {pattern}" if pattern else setting


def describe_shape(workload: Workload) -> str:
    """The width and the number of heads: `hidden 768, 12 heads`."""
    return f"hidden {workload.hidden_size}, {workload.num_heads} heads"


def describe_pattern(workloads: Iterable[Workload]) -> str:
    """Window, dilation and global tokens, each where all workloads share it; empty if dense."""
    patterns = [workload.pattern for workload in workloads]
    values = ((name, {form(pattern) for pattern in patterns}) for name, form in _PATTERN_FIELDS)
    shared = ((name, texts.pop()) for name, texts in values if len(texts) == 1)
    return ", ".join(f"{name} {text}" for name, text in shared if text)
