"""Counts beside the truth, and what sets them off from it, in a terminal and in Markdown."""

from __future__ import annotations

from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from attnprof.audit_table import AuditRow, AuditTable
from attnprof.notation import (
    format_dilation,
    format_global_tokens,
    format_window,
    shorten_positions,
)
from attnprof.records import describe_extent
from attnprof.units import format_count
from attnprof.workload import Workload

_LETTERS_IN_A_TERMINAL, _LETTERS_IN_MARKDOWN = 45, 110
_NAMES = {
    "operator": "operators: the truth",
    "formula": "closed form, executed",
    "useful": "closed form, useful",
    "ptflops_pytorch": "ptflops, pytorch",
    "ptflops_aten": "ptflops, aten",
    "torch": "torch FlopCounterMode",
}


def render_audit(audit: AuditTable) -> Group:
    """For each case its counters; beneath a count what it adds and leaves out, exact MACs."""
    width = max((len(line) for row in audit.rows for line, _, _ in _lines(row)), default=0)
    shapes = dict.fromkeys(_shape(row.case.workload) for row in audit.rows)
    parts: list[RenderableType] = [Text(shape, "dim") for shape in shapes]
    for heading, rows in groupby(audit.rows, key=_heading):
        table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False, show_header=False)
        table.add_column(no_wrap=True, min_width=width)
        table.add_column(justify="right", no_wrap=True, min_width=_MACS_WIDTH)
        table.add_column(justify="right", no_wrap=True, min_width=_SHARE_WIDTH)
        table.add_row("", Text("MACs counted", "dim"), Text("of truth", "dim"))
        for row in rows:
            for index, (line, macs, share) in enumerate(_lines(row)):
                is_unexplained = line.strip() == _UNEXPLAINED
                style = "bold red" if is_unexplained else "dim" if index else ""
                table.add_row(Text(line, style), Text(macs, style), share)
        parts += [Text(heading, "bold"), table]
    return Group(*parts)


_MACS_WIDTH, _SHARE_WIDTH = 15, 8


def _lines(row: AuditRow) -> list[tuple[str, str, str]]:
    """The counter with its count and its share of the truth; then what explains it."""
    if row.counted_macs is None:
        return [
            (f"  {_name(row)}", "–", ""),
            (f"    {_shortened(row.failure, _LETTERS_IN_A_TERMINAL)}", "", ""),
        ]
    first = (f"  {_name(row)}", format_count(row.counted_macs), _share(row))
    return [first, *((f"    {name}", _signed(macs), "") for name, macs in _differences(row))]


_UNEXPLAINED = "unexplained"


def _differences(row: AuditRow) -> list[tuple[str, int]]:
    named = [*row.differences.items()]
    return [*named, (_UNEXPLAINED, row.residual_macs)] if row.residual_macs else named


def _heading(row: AuditRow) -> str:
    told = [f"{_kernel(row)}, {format_count(row.case.workload.seq_len)} tokens", *_pattern(row)]
    return "; ".join(told)


def _kernel(row: AuditRow) -> str:
    extent = describe_extent(row.case.workload)
    return f"{row.case.kernel}, {extent}" if extent else row.case.kernel


def _pattern(row: AuditRow) -> list[str]:
    pattern = row.case.workload.pattern
    parts = [
        ("window", format_window(pattern)),
        ("dilation", format_dilation(pattern)),
        ("global tokens", shorten_positions(format_global_tokens(pattern))),
    ]
    told = ", ".join(f"{name} {value}" for name, value in parts if value)
    return [told] if told else []


def _shape(workload: Workload) -> str:
    return (
        f"hidden {workload.hidden_size}, {workload.num_heads} heads, batch {workload.batch_size}, "
        f"{workload.dtype}, {workload.mode}"
    )


def _name(row: AuditRow) -> str:
    return _NAMES.get(row.counter, row.counter)


def _share(row: AuditRow) -> str:
    return "–" if row.share is None else f"{100 * row.share:.1f} %"


def _signed(macs: int) -> str:
    return f"{'+' if macs > 0 else '−'}{format_count(abs(macs))}"


def _shortened(failure: str, letters: int) -> str:
    """A failure's first words: the other files tell it whole."""
    return failure if len(failure) <= letters else f"{failure[:letters].rsplit(' ', 1)[0]} …"


def describe_missing_peers(audit: AuditTable) -> str:
    """Which other tools could be asked, and how to get them."""
    names = ", ".join(audit.missing_peers)
    return f"not installed, so not asked: {names}; pip install 'attnprof[audit]'"


def render_audit_markdown(audit: AuditTable) -> str:
    """For each length a table of shares, counters by kernels, and what explains them."""
    shapes = dict.fromkeys(_shape(row.case.workload) for row in audit.rows)
    lines = [" and ".join(shapes), ""]
    rows = sorted(audit.rows, key=lambda row: row.case.workload.seq_len)
    for seq_len, group in groupby(rows, key=lambda row: row.case.workload.seq_len):
        lines += [f"**{format_count(seq_len)} tokens**", "", *_matrix(list(group)), ""]
    for name, explained in _explanations(audit.rows):
        lines.append(f"- {name}: {explained}")
    return "\n".join(lines) + "\n"


def _matrix(rows: list[AuditRow]) -> list[str]:
    kernels = list(dict.fromkeys(_column(row) for row in rows))
    by_counter: dict[str, dict[str, str]] = {}
    for row in rows:
        shown = f"**{_share(row)}?**" if row.residual_macs else _share(row)
        cell = "crash" if row.counted_macs is None else shown
        by_counter.setdefault(_name(row), {})[_column(row)] = cell
    return [
        _line(["counter", *kernels]),
        _line(["---", *["---:"] * len(kernels)]),
        *(
            _line([name, *(cells.get(kernel, "") for kernel in kernels)])
            for name, cells in by_counter.items()
        ),
    ]


def _column(row: AuditRow) -> str:
    return "; ".join([_kernel(row), *_pattern(row)])


def _explanations(rows: list[AuditRow]) -> list[tuple[str, str]]:
    """For each counter the names of its differences, over all cases."""
    names: dict[str, dict[str, None]] = {}
    for row in rows:
        named = names.setdefault(_name(row), {})
        named.update(dict.fromkeys(name for name, _ in _differences(row)))
        if row.failure:
            named[_shortened(row.failure, _LETTERS_IN_MARKDOWN)] = None
    return [(name, "; ".join(differences)) for name, differences in names.items() if differences]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
