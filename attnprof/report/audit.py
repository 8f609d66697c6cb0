"""Counts beside the truth, and what sets them off from it, in a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from attnprof.analysis.audit_table import AuditRow, AuditTable
from attnprof.core.notation import (
    format_dilation,
    format_global_tokens,
    format_window,
    shorten_positions,
)
from attnprof.core.result_table import describe_extent
from attnprof.core.units import format_count
from attnprof.core.workload import Workload

_LETTERS_IN_A_TERMINAL, _LETTERS_IN_MARKDOWN = 45, 110
_NAMES = {
    "operator": "operators: the truth",
    "formula": "closed form, executed",
    "useful": "closed form, useful",
    "ptflops_pytorch": "ptflops, pytorch",
    "ptflops_aten": "ptflops, aten",
    "torch": "torch FlopCounterMode",
}

_MACS_WIDTH, _SHARE_WIDTH = 15, 8

_UNEXPLAINED = "unexplained"


def render_audit(audit: AuditTable) -> Group:
    """For each case its counters; beneath a count what it adds and leaves out, exact MACs."""
    width = max((len(line) for row in audit.rows for line, _, _ in _lines(row)), default=0)
    setting, label = _setting(audit.rows)
    parts: list[RenderableType] = [Text(setting, "dim")]
    for (label_of_case, seq_len), rows in groupby(
        audit.rows, key=lambda row: (label(row), row.case.workload.seq_len)
    ):
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
        heading = f"{label_of_case}, {format_count(seq_len)} tokens"
        parts += [Text(heading, "bold"), table]
    return Group(*parts)


def _lines(row: AuditRow) -> list[tuple[str, str, str]]:
    """The counter with its count and its share of the truth; then what explains it."""
    if row.counted_macs is None:
        return [
            (f"  {_name(row)}", "–", ""),
            (f"    {_shortened(row.failure, _LETTERS_IN_A_TERMINAL)}", "", ""),
        ]
    first = (f"  {_name(row)}", format_count(row.counted_macs), _share(row))
    return [first, *((f"    {name}", _signed(macs), "") for name, macs in _differences(row))]


def _differences(row: AuditRow) -> list[tuple[str, int]]:
    named = [*row.differences.items()]
    return [*named, (_UNEXPLAINED, row.residual_macs)] if row.residual_macs else named


def _setting(rows: Sequence[AuditRow]) -> tuple[str, Callable[[AuditRow], str]]:
    """What all rows share, in a line; and what names a row's case beside its length."""
    workloads = [row.case.workload for row in rows]
    shared = " and ".join(dict.fromkeys(map(_shape, workloads)))
    patterns = dict.fromkeys(text for text in map(_pattern, workloads) if text)
    if len(patterns) == 1:
        shared += f"; {next(iter(patterns))}"

    def label(row: AuditRow) -> str:
        pattern = _pattern(row.case.workload) if len(patterns) > 1 else ""
        parts = (row.case.kernel, describe_extent(row.case.workload), pattern)
        return ", ".join(part for part in parts if part)

    return shared, label


def _pattern(workload: Workload) -> str:
    parts = (
        ("window", format_window(workload.pattern)),
        ("dilation", format_dilation(workload.pattern)),
        ("global tokens", shorten_positions(format_global_tokens(workload.pattern))),
    )
    return ", ".join(f"{name} {value}" for name, value in parts if value)


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
    setting, label = _setting(audit.rows)
    lines = [f"{setting}.", ""]
    rows = sorted(audit.rows, key=lambda row: row.case.workload.seq_len)
    for seq_len, group in groupby(rows, key=lambda row: row.case.workload.seq_len):
        lines += [*_matrix(f"{format_count(seq_len)} tokens", list(group), label), ""]
    lines += [f"- {name}: {explained}" for name, explained in _explanations(audit.rows)]
    return "\n".join(lines) + "\n"


def _matrix(heading: str, rows: list[AuditRow], label: Callable[[AuditRow], str]) -> list[str]:
    cases = list(dict.fromkeys(map(label, rows)))
    by_counter: dict[str, dict[str, str]] = {}
    for row in rows:
        shown = f"**{_share(row)}: {_UNEXPLAINED}**" if row.residual_macs else _share(row)
        cell = row.failure.partition(":")[0] if row.counted_macs is None else shown
        by_counter.setdefault(_name(row), {})[label(row)] = cell
    return [
        _line([heading, *cases]),
        _line(["---", *["---:"] * len(cases)]),
        *(
            _line([name, *(cells.get(case, "") for case in cases)])
            for name, cells in by_counter.items()
        ),
    ]


def _explanations(rows: list[AuditRow]) -> list[tuple[str, str]]:
    """For each counter the names of its differences over all cases, then how it fails."""
    differences: dict[str, dict[str, None]] = {}
    failures: dict[str, dict[str, None]] = {}
    for row in rows:
        named = differences.setdefault(_name(row), {})
        named.update(dict.fromkeys(name for name, _ in _differences(row)))
        if row.failure:
            failure = _shortened(row.failure, _LETTERS_IN_MARKDOWN)
            failures.setdefault(_name(row), {})[failure] = None
    texts = {
        name: "; ".join([*named, *failures.get(name, {})]) for name, named in differences.items()
    }
    return [(name, text) for name, text in texts.items() if text]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
