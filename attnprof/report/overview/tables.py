"""The two tables of an overview: costs by length, and all costs at the longest length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from attnprof.analysis.series import Series
from attnprof.core.records import PREDICTED_TIME
from attnprof.core.result_table import Row
from attnprof.core.units import (
    format_bytes,
    format_count,
    format_duration,
    format_long_duration,
    format_macs,
    format_ratio,
    format_share,
    format_tokens,
)
from attnprof.report.columns import (
    EMPTY,
    UNDECIDED,
    below_useful_mark,
    show_cache,
    show_overhead,
    with_marks_aligned,
)
from attnprof.report.overview.decoding import cache_growth
from attnprof.report.overview.laws import law_of
from attnprof.report.overview.model import OverviewTable
from attnprof.report.overview.results import Results, row_at

GAP = 2
"""Characters between two columns."""


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cost, and how it compares with the reference's."""

    cost: str
    ratio: str = ""


def table_by_length(results: Results, width: int) -> OverviewTable:
    """Times and speeds by length; MACs and their ratios where no time is known.

    Args:
        results: to show.
        width: characters of a line. If not all lengths fit, the first and the last are shown, and
            as many between them as fit.
    """
    is_time = results.is_timed or results.is_predicted
    show = _time_cell if is_time else _macs_cell
    columns = {
        seq_len: _aligned([show(results, row_at(member, seq_len)) for member in results.series])
        for seq_len in results.lengths
    }
    names = [results.names[member.label] for member in results.series]
    room = width - max(map(len, names))
    shown = _chosen(results.lengths, {n: _width(n, cells) for n, cells in columns.items()}, room)
    has_ratio = any(cell.rstrip().endswith("x") for n in shown for cell in columns[n])
    reference = results.names[results.reference.label] if results.reference else ""
    heading = "time" if is_time else "MACs"
    if has_ratio:
        heading = "time, speed" if is_time else f"MACs, against {reference}"
    return OverviewTable(
        heading,
        tuple(map(format_count, shown)),
        tuple(
            (name, *(columns[seq_len][index] for seq_len in shown))
            for index, name in enumerate(names)
        ),
        tuple(_best_in_row(results, member, shown) for member in results.series),
        _left_out(len(shown), len(results.lengths)),
    )


def _left_out(shown: int, known: int) -> str:
    return f"{shown} of {known} lengths are shown; all: --details" if shown < known else ""


def _width(seq_len: int, cells: Sequence[str]) -> int:
    return GAP + max(len(format_count(seq_len)), *map(len, cells))


def _chosen(lengths: Sequence[int], widths: dict[int, int], room: int) -> list[int]:
    """As many lengths as fit, evenly spread, with the first and the last."""
    for count in range(len(lengths), 1, -1):
        step = (len(lengths) - 1) / (count - 1)
        chosen = [lengths[round(index * step)] for index in range(count)]
        if sum(widths[length] for length in chosen) <= room:
            return chosen
    return [lengths[-1]]


def _best_in_row(results: Results, series: Series, shown: Sequence[int]) -> frozenset[int]:
    """The cells of a row that are the best of their column, unless all are as good."""
    best = {
        finding.seq_len
        for finding in results.fastest()
        if series.label in finding.best and len(finding.best) < len(finding.contenders)
    }
    return frozenset(index + 1 for index, seq_len in enumerate(shown) if seq_len in best)


def _aligned(cells: Sequence[_Cell]) -> list[str]:
    """Texts of equal width, with costs below costs and ratios below ratios."""
    cost_width = max(len(cell.cost) for cell in cells)
    ratio_width = max(len(cell.ratio) for cell in cells)
    costs = with_marks_aligned([f"{cell.cost:>{cost_width}}" for cell in cells])
    if not ratio_width:
        return costs
    return [f"{cost} {cell.ratio:>{ratio_width}}" for cost, cell in zip(costs, cells, strict=True)]


def _time_cell(results: Results, row: Row | None) -> _Cell:
    if row is None:
        return _Cell(EMPTY)
    time, predicted = row.integer("time_ns"), row.integer(PREDICTED_TIME)
    if time is None or row.status != "ok":
        if predicted is not None:
            return _Cell(f"≈ {format_long_duration(predicted)}")
        return _Cell(EMPTY if row.status == "ok" else row.status)
    return _Cell(format_duration(time), _speed(results, row))


def _speed(results: Results, row: Row) -> str:
    if results.reference is None or len(results.series) == 1:
        return ""
    kernel = results.reference.rows[0].kernel
    speed, verdict = row.speed_against(kernel), row.verdict_against(kernel)
    if speed is None:
        return ""
    mark = UNDECIDED if verdict is not None and verdict.outcome == "undecided" else ""
    return mark + format_ratio(speed.median)


def _macs_cell(results: Results, row: Row | None) -> _Cell:
    macs = None if row is None else row.integer("executed_macs")
    if row is None or macs is None or row.status == "wrong":
        return _Cell(EMPTY if row is None or row.status == "ok" else row.status)
    reference = results.reference and row_at(results.reference, row.workload.seq_len)
    beside = reference.integer("executed_macs") if reference else None
    ratio = format_ratio(macs / beside) if beside and len(results.series) > 1 else ""
    return _Cell(format_macs(macs, unit="") + below_useful_mark(row), ratio)


def table_at_longest(results: Results) -> OverviewTable:
    """MACs, their growth, what ptflops counts, memory and the longest length that fits."""
    rows = [_valid(row_at(member, results.longest)) for member in results.series]
    labels = [member.label for member in results.series]
    growth = {finding.label: law_of(finding) for finding in results.findings.growth}
    is_decoding = any(row and row.workload.mode == "decode" for row in rows)
    # One layer's cache says little about the context that fits, and the table is wide enough.
    found = () if is_decoding else results.findings.max_lengths
    fits = {finding.label: finding.longest for finding in found}
    is_time = results.is_timed or results.is_predicted
    columns = {
        "MACs": [_of(row, _macs) for row in rows] if is_time else [],
        "grows": [growth.get(label, EMPTY) for label in labels],
        "ptflops counts": [_of(row, _ptflops) for row in rows],
        "executed / useful": [] if is_time else [_of(row, show_overhead) for row in rows],
        "peak memory" if results.has_peaks else "predicted peak": [
            _of(row, lambda row: _peak(results, row)) for row in rows
        ],
        "cache": [_of(row, show_cache) for row in rows],
        "cache grows": [cache_growth(member) for member in results.series],
        "fits up to": [format_count(fits[label]) if label in fits else EMPTY for label in labels],
    }
    shown = {
        heading: with_marks_aligned(cells)
        for heading, cells in columns.items()
        if any(cell != EMPTY for cell in cells)
    }
    return OverviewTable(
        f"at {format_tokens(results.longest)}",
        tuple(shown),
        tuple(
            (results.names[label], *(cells[index] for cells in shown.values()))
            for index, label in enumerate(labels)
        ),
    )


def _valid(row: Row | None) -> Row | None:
    """The row, unless its output is wrong: then its costs say nothing."""
    return None if row is not None and row.status == "wrong" else row


def _of(row: Row | None, show: Callable[[Row], str]) -> str:
    return EMPTY if row is None else show(row)


def _macs(row: Row) -> str:
    macs = row.integer("executed_macs")
    return EMPTY if macs is None else format_macs(macs, unit="") + below_useful_mark(row)


def _ptflops(row: Row) -> str:
    counted, executed = row.integer("ptflops_pytorch_macs"), row.integer("executed_macs")
    return EMPTY if counted is None or not executed else format_share(counted, executed)


def _peak(results: Results, row: Row) -> str:
    peak, predicted = results.peak_bytes(row), row.integer("predicted_peak_bytes")
    if peak is not None:
        return format_bytes(peak)
    return EMPTY if predicted is None else f"≈ {format_bytes(predicted)}"
