"""Published formulas beside useful and executed MACs, in a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby

from rich.text import Text

from attnprof.analysis.formula_audit import FormulaAudit, FormulaRow
from attnprof.core import published_formulas
from attnprof.core.mask_pattern import format_mask
from attnprof.core.result_table import describe_extent
from attnprof.core.units import format_count, format_share, format_tokens
from attnprof.core.workload import Workload
from attnprof.report.markdown_row import format_row
from attnprof.report.setting import describe_pattern, describe_shape
from attnprof.report.text_table import TextRow, fit_table, wrapped

_UNEXPLAINED = "unexplained"

_INDENT = "    "


def render_formula_audit(audit: FormulaAudit, width: int) -> Text:
    """For each workload its figures; below each the exact MACs that it adds or leaves out.

    Args:
        audit: the figures.
        width: of the tables, in characters.
    """
    parts: list[Text] = []
    for workload, group in groupby(audit.rows, key=lambda row: row.workload):
        rows = list(group)
        parts += [Text(line, "bold") for line in wrapped(_heading(workload), width)]
        parts += [_table(rows, width), Text()]
    for line in _sources(audit.rows):
        parts += [Text(text, "dim") for text in wrapped(line, width, _INDENT)]
    return Text("\n", no_wrap=True).join(parts)


def _table(rows: Sequence[FormulaRow], width: int) -> Text:
    executed = [row for row in rows if row.kind == "executed"]
    lines: list[TextRow] = []
    for row in rows:
        shares = [_share(row.macs, row.useful_macs), *(_share(row.macs, e.macs) for e in executed)]
        lines.append(TextRow((f"  {_name(row)}", _count(row.macs), *shares)))
        for name, macs in _differences(row):
            style = "bold red" if name == _UNEXPLAINED else "dim"
            cells = (f"{_INDENT}{name}", _signed(macs), *[""] * len(shares))
            lines.append(TextRow(cells, style))
    names = [row.name for row in executed] if len(executed) > 1 else ["executed"] * len(executed)
    headings = ("", "MACs", "of\nuseful", *(f"of\n{name}" for name in names))
    return fit_table(headings, lines, width)


def render_formula_audit_markdown(audit: FormulaAudit) -> str:
    """For each workload a table with the differences of each figure, then the sources."""
    lines: list[str] = []
    for workload, group in groupby(audit.rows, key=lambda row: row.workload):
        rows = list(group)
        executed = [row for row in rows if row.kind == "executed"]
        shares = ["of useful", *(f"of {row.name}" for row in executed)]
        lines += [f"**{_heading(workload)}**", ""]
        lines.append(format_row(["", "MACs", *shares, "differences to the useful MACs"]))
        lines.append(format_row(["---", *["---:"] * (1 + len(shares)), "---"]))
        lines += [format_row(_markdown_cells(row, executed)) for row in rows]
        lines.append("")
    return "\n".join([*lines, *(f"- {line}" for line in _sources(audit.rows))]) + "\n"


def _markdown_cells(row: FormulaRow, executed: Sequence[FormulaRow]) -> list[str]:
    shares = [_share(row.macs, row.useful_macs), *(_share(row.macs, e.macs) for e in executed)]
    texts = [f"{name} {_signed(macs)}" for name, macs in _differences(row)]
    return [_name(row), _count(row.macs), *shares, "; ".join(texts)]


def _sources(rows: Sequence[FormulaRow]) -> list[str]:
    """What each formula is, and where it is published."""
    names = dict.fromkeys(row.name for row in rows if row.kind == "formula")
    found = map(published_formulas.find, names)
    return [f"{formula.title}: {formula.expression} ({formula.source})" for formula in found]


def _heading(workload: Workload) -> str:
    """What is costed: `Whole layer, hidden 768, 12 heads, dense, ..., 4,096 tokens`."""
    extent = describe_extent(workload) or "self-attention"
    dense = "dense causal" if workload.pattern.causal else "dense"
    parts = [
        f"{extent[0].upper()}{extent[1:]}",
        describe_shape(workload),
        format_mask(workload.pattern) or describe_pattern([workload]) or dense,
        f"batch {workload.batch_size}",
        workload.mode,
        format_tokens(workload.seq_len),
    ]
    return ", ".join(filter(None, parts))


def _name(row: FormulaRow) -> str:
    if row.kind == "useful":
        return "needed by the pattern (useful)"
    if row.kind == "executed":
        return f"executed by {row.name}"
    return published_formulas.find(row.name).title


def _differences(row: FormulaRow) -> list[tuple[str, Fraction]]:
    explained = list(row.differences.items())
    return [*explained, (_UNEXPLAINED, row.residual_macs)] if row.residual_macs else explained


def _share(macs: Fraction, whole: Fraction | int) -> str:
    return format_share(float(macs), float(whole))


def _count(macs: Fraction) -> str:
    """All digits, and the half MAC that some formulas have."""
    whole, rest = divmod(macs, 1)
    return f"{format_count(whole)}.5" if rest else format_count(whole)


def _signed(macs: Fraction) -> str:
    return f"{'+' if macs > 0 else '−'}{_count(abs(macs))}"
