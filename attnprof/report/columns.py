"""The columns of the tables in a terminal and in Markdown.

Those of CSV and pandas are `COLUMN_UNITS` in `attnprof.core.records`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from attnprof import kernels
from attnprof.core.records import (
    ALLOCATED_CACHE,
    PREDICTED_TIME,
    PREDICTED_TIME_HIGH,
    PREDICTED_TIME_LOW,
    REFERENCE,
)
from attnprof.core.result_table import Row
from attnprof.core.roofline import bound
from attnprof.core.units import (
    format_bytes,
    format_count,
    format_duration,
    format_intensity,
    format_long_duration,
    format_macs,
    format_percent,
    format_ratio,
    format_share,
)

WIDE = 110
"""Terminals at least this many characters wide also show the columns that are `is_for_wide`."""

EMPTY = "–"

BELOW_USEFUL = "*"
"""Marks executed MACs that are fewer than the useful ones; a note explains them."""

UNDECIDED = "~"
"""Marks a speed whose verdict is undecided."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, the text of a row's cell, and whether only wide tables have it."""

    heading: str
    show: Callable[[Row], str]
    is_for_wide: bool = False


def _number(quantity: str, form: Callable[[int], str]) -> Callable[[Row], str]:
    def show(row: Row) -> str:
        value = row.integer(quantity)
        return EMPTY if value is None else form(value)

    return show


def _macs(quantity: str) -> Callable[[Row], str]:
    return _number(quantity, lambda macs: format_macs(macs, unit=""))


def _share(quantity: str) -> Callable[[Row], str]:
    def show(row: Row) -> str:
        counted, executed = row.integer(quantity), row.integer("executed_macs")
        return EMPTY if counted is None or not executed else format_share(counted, executed)

    return show


def _time(row: Row) -> str:
    value = row.integer("time_ns")
    if value is not None:
        return format_duration(value)
    if PREDICTED_TIME in row.values:
        return _predicted(row)
    return EMPTY if row.status == "ok" else row.status


def _predicted(row: Row) -> str:
    value = row.integer(PREDICTED_TIME)
    return EMPTY if value is None else f"≈ {format_long_duration(value)}"


def _expected(row: Row) -> str:
    low, high = row.integer(PREDICTED_TIME_LOW), row.integer(PREDICTED_TIME_HIGH)
    if low is None or high is None:
        return EMPTY
    return f"{format_long_duration(low)} to {format_long_duration(high)}"


def _speed(row: Row) -> str:
    # Only results saved without ratios have nothing but the column's rounded value.
    speed, verdict = row.speed_against(REFERENCE), row.verdict
    value = speed.median if speed else row.values.get("speedup")
    if value is None:
        return EMPTY
    is_undecided = verdict is not None and verdict.outcome == "undecided"
    return f"{UNDECIDED}{format_ratio(value)}" if is_undecided else format_ratio(value)


def _fraction(quantity: str, form: Callable[[float], str]) -> Callable[[Row], str]:
    def show(row: Row) -> str:
        value = row.values.get(quantity)
        return EMPTY if value is None else form(value)

    return show


def show_bound(row: Row) -> str:
    """Whether products or memory limit a call at best."""
    return bound(row.values) or EMPTY


def show_overhead(row: Row) -> str:
    """Executed MACs in units of the useful ones, with a mark if they are fewer."""
    useful, executed = row.integer("useful_macs"), row.integer("executed_macs")
    if not useful or executed is None:
        return EMPTY
    return format_ratio(executed / useful) + below_useful_mark(row)


def below_useful_mark(row: Row) -> str:
    """A mark for a row that executes fewer MACs than its pattern needs; else empty."""
    useful, executed = row.integer("useful_macs"), row.integer("executed_macs")
    return BELOW_USEFUL if useful and executed is not None and executed < useful else ""


def with_marks_aligned(cells: Sequence[str]) -> list[str]:
    """The cells with a space where others have `BELOW_USEFUL` after their last digit."""
    is_marked = any(cell.endswith(BELOW_USEFUL) for cell in cells)
    return [f"{cell} " if is_marked and not cell.endswith(BELOW_USEFUL) else cell for cell in cells]


def show_cache(row: Row) -> str:
    """The bytes that a kernel's cache allocates; those that the pattern needs if it has none."""
    allocated = row.integer(ALLOCATED_CACHE)
    cached = row.integer("cache_bytes") if allocated is None else allocated
    return EMPTY if cached is None else format_bytes(cached)


def _parameters(row: Row) -> str:
    """Parameters; not of built-in kernels that decode, whose bytes are in the verdict."""
    if row.workload.mode == "decode" and not kernels.is_custom(row.kernel):
        return EMPTY
    return _number("params", format_count)(row)


def _status(row: Row) -> str:
    return EMPTY if row.status == "ok" else row.status


def filled(columns: Sequence[Column], rows: Sequence[Row]) -> list[Column]:
    """The columns in which at least one row has a value."""
    return [column for column in columns if any(column.show(row) != EMPTY for row in rows)]


_INTENSITY = (
    Column("least\nbytes", _number("min_bytes", format_bytes), is_for_wide=True),
    Column("FLOP/B", _fraction("intensity", format_intensity), is_for_wide=True),
    Column("bound", show_bound, is_for_wide=True),
)
_UTILISATION = (
    Column("utili-\nsation", _fraction("utilisation", format_percent), is_for_wide=True),
    Column("useful\nutil.", _fraction("useful_utilisation", format_percent), is_for_wide=True),
)
_MACS = (
    Column("useful\nMACs", _macs("useful_macs")),
    Column("executed\nMACs", _macs("executed_macs")),
)
COMPARE_COLUMNS = (
    *_MACS,
    Column("ptflops\ncounts", _macs("ptflops_pytorch_macs")),
    Column("coverage", _share("ptflops_pytorch_macs")),
    Column("ptflops\naten", _macs("ptflops_aten_macs"), is_for_wide=True),
    Column("aten cov.", _share("ptflops_aten_macs"), is_for_wide=True),
    Column("operator\nMACs", _macs("operator_macs"), is_for_wide=True),
    Column("predicted\npeak", _number("predicted_peak_bytes", format_bytes), is_for_wide=True),
    Column("peak\nmemory", _number("peak_bytes", format_bytes)),
    Column("cache", show_cache),
    Column("time", _time),
    Column("speed", _speed),
    *_INTENSITY,
    *_UTILISATION,
    Column("machine", lambda row: row.machine or EMPTY),
)
ESTIMATE_COLUMNS = (
    *_MACS,
    Column("executed\n/ useful", show_overhead),
    Column("parameters", _parameters),
    Column("predicted\npeak", _number("predicted_peak_bytes", format_bytes)),
    Column("cache", show_cache),
    Column("predicted\ntime", _predicted),
    Column("expected\nrange", _expected, is_for_wide=True),
    *_INTENSITY,
    Column("status", _status),
)
