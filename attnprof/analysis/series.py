"""Rows of one kernel and pattern over length: one line of a chart, one label of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from attnprof import kernels
from attnprof.core.mask_pattern import format_mask
from attnprof.core.notation import (
    format_dilation,
    format_global_tokens,
    format_window,
    shorten_positions,
)
from attnprof.core.records import REFERENCE, WINDOWED_REFERENCE
from attnprof.core.result_table import ResultTable, Row
from attnprof.core.workload import Workload
from attnprof.kernels.costs import KernelCosts
from attnprof.kernels.custom.saved import RecordedKernel, SavedKernel, saved_kernel


def _causal(workload: Workload) -> str:
    if not workload.is_dense:
        return ""
    return "causal" if workload.pattern.causal else "bidirectional"


_PARTS: tuple[tuple[str, str, Callable[[Workload], str]], ...] = (
    ("window", "w=", lambda workload: format_window(workload.pattern)),
    ("dilation", "d=", lambda workload: format_dilation(workload.pattern)),
    ("pattern", "", lambda workload: format_mask(workload.pattern)),
    ("global", "g=", lambda workload: shorten_positions(format_global_tokens(workload.pattern))),
    # Of sparse patterns, something else tells them apart.
    ("causal", "", _causal),
    ("scope", "scope=", lambda workload: workload.scope),
    ("layers", "layers=", lambda workload: str(len(workload.layers))),
)


@dataclass(frozen=True, slots=True)
class Series:
    """One kernel on one pattern, in ascending lengths.

    Attributes:
        label: the kernel's name, and whatever distinguishes this pattern from others in the table.
        rows: one for each length.
        saved: the kernel of all rows where its costs are saved; None where it is found by name.
    """

    label: str
    rows: tuple[Row, ...]
    saved: SavedKernel | RecordedKernel | None = None

    @property
    def kernel(self) -> KernelCosts:
        """The kernel of all rows."""
        return self.saved or kernels.find(self.rows[0].kernel)

    @property
    def workload(self) -> Workload:
        """The workload at the longest length."""
        return self.rows[-1].workload

    @property
    def is_custom(self) -> bool:
        """Whether the kernel is not built in: a module or a config of the user."""
        return self.rows[0].kernel not in kernels.names()

    @property
    def is_supported(self) -> bool:
        """Whether the kernel supports the pattern at one of the lengths, according to its rows."""
        return any(row.status != "unsupported" for row in self.rows)

    def points(self, quantity: str) -> list[tuple[int, int]]:
        """(length, value) for each row that has a value."""
        values = ((row.workload.seq_len, row.integer(quantity)) for row in self.rows)
        return [(length, value) for length, value in values if value is not None]


def series_of(table: ResultTable, *, with_wrong: bool = False) -> list[Series]:
    """The table's rows by kernel and pattern, in the order of their first rows.

    Args:
        table: the results.
        with_wrong: whether to keep rows whose output is wrong; their costs say nothing.
    """
    label_of = labels(table)
    longest = max((row.workload.seq_len for row in table.rows), default=1)
    groups: dict[tuple[str, Workload], list[Row]] = {}
    for row in table.rows:
        if row.status == "wrong" and not with_wrong:
            continue
        groups.setdefault((row.kernel, row.workload.at(longest)), []).append(row)
    return [
        Series(
            label_of(rows[0]),
            tuple(sorted(rows, key=lambda row: row.workload.seq_len)),
            _saved(table, name),
        )
        for (name, _), rows in groups.items()
    ]


def _saved(table: ResultTable, name: str) -> SavedKernel | None:
    costs = None if name in kernels.names() else table.saved_costs.get(name)
    return None if costs is None else saved_kernel(name, costs)


def of_one_machine(rows: Sequence[Row]) -> list[Row]:
    """The rows of the machine that measured most of them, the first of several.

    Times of several machines are not compared, nor are lengths whose times are of several.
    """
    counts = Counter(row.machine for row in rows)
    most = max(counts.values(), default=0)
    machine = next((row.machine for row in rows if counts[row.machine] == most), "")
    return [row for row in rows if row.machine == machine]


def find_reference(series: Sequence[Series]) -> Series | None:
    """What others are compared with, of those that can run; None without one.

    `bert-sdpa`, else the first dense kernel, else `mistral-sdpa` with the same pattern.
    """
    supported = [member for member in series if member.is_supported and not member.is_custom]
    dense = [member for member in supported if member.kernel.pattern_support == "dense"]
    windowed = [member for member in supported if member.rows[0].kernel == WINDOWED_REFERENCE]
    first = next((one for one in dense if one.rows[0].kernel == REFERENCE), None)
    return first or next(iter([*dense, *windowed]), None)


def labels(table: ResultTable, without: str = "") -> Callable[[Row], str]:
    """A function that names a row by its kernel and by what of the pattern differs among its rows.

    Args:
        table: its rows are named.
        without: a part that names leave out, such as `window`.

    Returns:
        From a row of the table to a label such as `longformer-hf w=64`.
    """
    values_of: dict[str, list[set[str]]] = {}
    for row in table.rows:
        values = values_of.setdefault(row.kernel, [set() for _ in _PARTS])
        for known, (_, _, read) in zip(values, _PARTS, strict=True):
            known.add(read(row.workload))

    def label(row: Row) -> str:
        differing = [
            f"{mark}{read(row.workload)}"
            for known, (name, mark, read) in zip(values_of[row.kernel], _PARTS, strict=True)
            if len(known) > 1 and name != without
        ]
        # The windows of a stack already show how many layers there are.
        if len(differing) > 1 and differing[-1].startswith("layers"):
            differing.pop()
        return " ".join([row.kernel, *differing])

    return label
