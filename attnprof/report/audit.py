"""Counts beside the reference, with their named differences, in a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from rich.text import Text

from attnprof.analysis.audit_table import AuditRow, AuditTable
from attnprof.core.result_table import describe_extent
from attnprof.core.units import format_count, format_share, format_tokens
from attnprof.core.workload import Workload
from attnprof.report.columns import EMPTY
from attnprof.report.markdown_row import format_row
from attnprof.report.setting import describe_mode, describe_pattern, describe_shape
from attnprof.report.text_table import TextRow, fit_table, wrapped

_TERMINAL_LETTERS, _MARKDOWN_LETTERS = 45, 110
"""Longest text of a failure."""

_NAMES = {
    "operator": "operator-level reference",
    "formula": "closed form, executed",
    "useful": "closed form, useful",
    "ptflops_pytorch": "ptflops, pytorch",
    "ptflops_aten": "ptflops, aten",
    "torch": "torch FlopCounterMode",
}

_UNEXPLAINED = "unexplained"


def render_audit(audit: AuditTable, width: int) -> Text:
    """For each case its counters; below a count the exact MACs that it adds or leaves out.

    Args:
        audit: the counts.
        width: of the table, in characters.
    """
    setting, label = _setting(audit.rows)
    rows: list[TextRow] = []
    for (label_of_case, seq_len), group in groupby(
        audit.rows, key=lambda row: (label(row), row.case.workload.seq_len)
    ):
        rows.append(TextRow((f"{label_of_case}, {format_tokens(seq_len)}",), "bold"))
        for row in group:
            for index, cells in enumerate(_lines(row)):
                is_unexplained = cells[0].strip() == _UNEXPLAINED
                style = "bold red" if is_unexplained else "dim" if index else ""
                rows.append(TextRow(cells, style))
    table = fit_table(("", "MACs counted", "of reference"), rows, width)
    return Text("\n", no_wrap=True).join([*map(Text, wrapped(setting, width)), table])


def _lines(row: AuditRow) -> list[tuple[str, str, str]]:
    """The counter with its count and its share of the reference; then its differences."""
    if row.counted_macs is None:
        return [
            (f"  {_name(row)}", EMPTY, ""),
            (f"    {_shortened(row.failure, _TERMINAL_LETTERS)}", "", ""),
        ]
    first = (f"  {_name(row)}", format_count(row.counted_macs), _share(row))
    return [first, *((f"    {name}", _signed(macs), "") for name, macs in _differences(row))]


def _differences(row: AuditRow) -> list[tuple[str, int]]:
    explained = [*row.differences.items()]
    return [*explained, (_UNEXPLAINED, row.residual_macs)] if row.residual_macs else explained


def _setting(rows: Sequence[AuditRow]) -> tuple[str, Callable[[AuditRow], str]]:
    """The shape and pattern that all rows share, and a function that names a row's case."""
    workloads = [row.case.workload for row in rows]
    shared = " and ".join(dict.fromkeys(map(_shape_and_mode, workloads)))
    patterns = dict.fromkeys(text for text in map(_pattern, workloads) if text)
    if len(patterns) == 1:
        shared += f"; {next(iter(patterns))}"

    def label(row: AuditRow) -> str:
        pattern = _pattern(row.case.workload) if len(patterns) > 1 else ""
        parts = (row.case.kernel, describe_extent(row.case.workload), pattern)
        return ", ".join(part for part in parts if part)

    return shared, label


def _pattern(workload: Workload) -> str:
    return describe_pattern([workload])


def _shape_and_mode(workload: Workload) -> str:
    return (
        f"{describe_shape(workload)}, batch {workload.batch_size}, {workload.dtype}, "
        f"{describe_mode(workload)}"
    )


def _name(row: AuditRow) -> str:
    return _NAMES.get(row.counter, row.counter)


def _share(row: AuditRow) -> str:
    return EMPTY if row.share is None else format_share(row.share, 1)


def _signed(macs: int) -> str:
    return f"{'+' if macs > 0 else '−'}{format_count(abs(macs))}"


def _shortened(failure: str, letters: int) -> str:
    """The first words of a failure; CSV and JSON have all of it."""
    return failure if len(failure) <= letters else f"{failure[:letters].rsplit(' ', 1)[0]} …"


def describe_missing_peers(audit: AuditTable) -> str:
    """Which third-party tools were not run because they are not installed, with the remedy."""
    names = ", ".join(audit.missing_peers)
    return f"not installed, so not run: {names}; pip install 'attnprof[audit]'"


def render_audit_markdown(audit: AuditTable) -> str:
    """For each length a table of shares, counters by kernels; then the names of differences."""
    setting, label = _setting(audit.rows)
    lines = [f"{setting}.", ""]
    rows = sorted(audit.rows, key=lambda row: row.case.workload.seq_len)
    for seq_len, group in groupby(rows, key=lambda row: row.case.workload.seq_len):
        lines += [*_matrix(format_tokens(seq_len), list(group), label), ""]
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
        format_row([heading, *cases]),
        format_row(["---", *["---:"] * len(cases)]),
        *(
            format_row([name, *(cells.get(case, "") for case in cases)])
            for name, cells in by_counter.items()
        ),
    ]


def _explanations(rows: list[AuditRow]) -> list[tuple[str, str]]:
    """For each counter the names of its differences over all cases, then its failures."""
    differences: dict[str, dict[str, None]] = {}
    failures: dict[str, dict[str, None]] = {}
    for row in rows:
        names = differences.setdefault(_name(row), {})
        names.update(dict.fromkeys(name for name, _ in _differences(row)))
        if row.failure:
            failure = _shortened(row.failure, _MARKDOWN_LETTERS)
            failures.setdefault(_name(row), {})[failure] = None
    texts = {
        counter: "; ".join([*names, *failures.get(counter, {})])
        for counter, names in differences.items()
    }
    return [(counter, text) for counter, text in texts.items() if text]
