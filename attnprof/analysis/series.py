"""Rows of one kernel and pattern over length: what a line of a chart or of a table's group is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from attnprof import kernels
from attnprof.core.notation import (
    format_dilation,
    format_global_tokens,
    format_window,
    shorten_positions,
)
from attnprof.core.result_table import ResultTable, Row
from attnprof.core.workload import Workload
from attnprof.kernels import Kernel

_PARTS: tuple[tuple[str, Callable[[Workload], str]], ...] = (
    ("window", lambda workload: format_window(workload.pattern)),
    ("dilation", lambda workload: format_dilation(workload.pattern)),
    ("global", lambda workload: shorten_positions(format_global_tokens(workload.pattern))),
    ("scope", lambda workload: workload.scope),
    ("layers", lambda workload: str(len(workload.layers))),
)


@dataclass(frozen=True, slots=True)
class Series:
    """One kernel on one pattern, in ascending lengths.

    Attributes:
        label: the kernel's name, and what sets this pattern off from others in the table.
        rows: one for each length.
    """

    label: str
    rows: tuple[Row, ...]

    @property
    def kernel(self) -> Kernel:
        """The kernel of all rows."""
        return kernels.find(self.rows[0].kernel)

    @property
    def workload(self) -> Workload:
        """The workload at the longest length."""
        return self.rows[-1].workload

    @property
    def is_own(self) -> bool:
        """Whether the kernel is the user's own."""
        return kernels.is_custom(self.rows[0].kernel)

    @property
    def is_supported(self) -> bool:
        """Whether the kernel takes the pattern; what is the user's own, some of the lengths."""
        if self.is_own:
            return any(row.status != "unsupported" for row in self.rows)
        return self.kernel.unsupported_reason(self.workload) is None

    def points(self, quantity: str) -> list[tuple[int, int]]:
        """(length, value) where there is a value."""
        values = ((row.workload.seq_len, row.integer(quantity)) for row in self.rows)
        return [(length, value) for length, value in values if value is not None]


def series_of(table: ResultTable) -> list[Series]:
    """The table's rows by kernel and pattern, in the order of their first rows.

    Rows whose output is wrong are left out: nothing follows from what they cost.
    """
    label_of = labels(table)
    longest = max((row.workload.seq_len for row in table.rows), default=1)
    groups: dict[tuple[str, Workload], list[Row]] = {}
    for row in table.rows:
        if row.status == "wrong":
            continue
        groups.setdefault((row.kernel, row.workload.at(longest)), []).append(row)
    return [
        Series(label_of(rows[0]), tuple(sorted(rows, key=lambda row: row.workload.seq_len)))
        for rows in groups.values()
    ]


def labels(table: ResultTable) -> Callable[[Row], str]:
    """Names rows by their kernel, and by whatever of the pattern differs among its rows."""
    seen: dict[str, list[set[str]]] = {}
    for row in table.rows:
        values = seen.setdefault(row.kernel, [set() for _ in _PARTS])
        for known, (_, read) in zip(values, _PARTS, strict=True):
            known.add(read(row.workload))

    def label(row: Row) -> str:
        differing = [
            f"{name} {read(row.workload)}"
            for known, (name, read) in zip(seen[row.kernel], _PARTS, strict=True)
            if len(known) > 1
        ]
        # The windows of a stack already say how many layers there are.
        if len(differing) > 1 and differing[-1].startswith("layers"):
            differing.pop()
        return " ".join([row.kernel, *differing])

    return label
