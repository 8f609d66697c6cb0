"""What explains cells that would surprise, two lines each at most."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attnprof.analysis.findings.speed import find_discordant
from attnprof.analysis.series import Series
from attnprof.core.global_queries import GlobalQueries
from attnprof.core.result_table import Row
from attnprof.core.roofline import balance, bound
from attnprof.core.units import format_count, format_intensity, format_ratio
from attnprof.report.columns import BELOW_USEFUL, below_useful_mark
from attnprof.report.overview.results import Results, row_at
from attnprof.report.phrases import join_lengths, join_some, join_words, shorten_lines

_MOST_LINES = 2
"""Lines of a note; `--details` has all of it."""

_EXACT_BYTES = re.compile(r" \(\d+ bytes\)")


def notes_of(results: Results, width: int) -> tuple[str, ...]:
    """The notes, each shortened to `_MOST_LINES` lines of `width` characters."""
    notes = [
        *_failures(results),
        *_missing(results),
        *_below_useful(results),
        *_above_executed(results),
        *_memory_bound(results),
        *_discordant(results),
    ]
    return tuple(shorten_lines(note, width, _MOST_LINES) for note in notes)


def _failures(results: Results) -> Iterator[str]:
    """Which cases have no result, and why."""
    for series in results.series:
        by_status: dict[str, list[Row]] = {}
        for row in series.rows:
            if row.status != "ok":
                by_status.setdefault(row.status, []).append(row)
        for status, rows in by_status.items():
            lengths = [row.workload.seq_len for row in rows]
            place = "" if len(lengths) == len(series.rows) else _at(lengths, results)
            reasons = list(dict.fromkeys(map(_reason, rows)))
            of_first = "" if len(reasons) == 1 else f"at {format_count(lengths[0])} "
            yield f"{results.names[series.label]}{place}: {status}: {of_first}{reasons[0]}"


def _missing(results: Results) -> Iterator[str]:
    """Why a kernel that ran has no MACs, no peak memory or no useful MACs: one reason each."""
    peak = "peak_bytes" if results.has_peaks else "predicted_peak_bytes"
    for series in results.series:
        details = [detail for row in series.rows if row.status == "ok" for detail in row.details]
        for quantity in ("executed_macs", peak, *(() if results.is_timed else ("useful_macs",))):
            start = f"{quantity} is empty: "
            reasons = [detail for detail in details if detail.startswith(start)]
            if reasons:
                reason = reasons[-1].removeprefix(start).partition("\n")[0]
                yield f"{results.names[series.label]}: {reason}"
                break


def _reason(row: Row) -> str:
    """The last note: that of the record that closed the case."""
    line = row.details[-1].partition("\n")[0] if row.details else "no reason given"
    return _EXACT_BYTES.sub("", line)


def _at(lengths: list[int], results: Results) -> str:
    return f" at {join_lengths(lengths, results.lengths)}"


def _below_useful(results: Results) -> Iterator[str]:
    """Why a kernel multiplies less than the definition of its pattern."""
    # MACs of other lengths are shown only where no time was measured.
    lengths = [results.longest] if results.is_timed else results.lengths
    shown = [row_at(series, length) for series in results.series for length in lengths]
    rows = [row for row in shown if row is not None and below_useful_mark(row)]
    if not rows:
        return
    shares = " to ".join(dict.fromkeys((_least(rows), _most(rows))))
    text = f"{BELOW_USEFUL} {shares} the useful MACs"
    if all(_absorbs(row) for row in rows):
        text += ": few globals need no second K, V projection"
    yield text


def _above_executed(results: Results) -> Iterator[str]:
    """Why ptflops counts more than all MACs."""
    counts = [one for one in results.findings.counters if one.backend == "pytorch"]
    if any(finding.counted_macs > finding.executed_macs for finding in counts):
        yield "over 100 %: ptflops counts bias and elementwise operations, which are not MACs"


def _memory_bound(results: Results) -> Iterator[str]:
    """Which kernels wait for memory at best at the longest length: products are the usual limit."""
    rows = [(s, row_at(s, results.longest)) for s in results.series]
    found = [(s, row) for s, row in rows if row is not None and bound(row.values) == "memory"]
    if found:
        names = join_some([results.names[series.label] for series, _ in found])
        most = format_intensity(max(row.values["intensity"] for _, row in found))
        least = format_intensity(min(balance(row.values) or 0.0 for _, row in found))
        yield f"bound by memory: {names}, {most} FLOP/B; this machine's balance is {least}"


def _absorbs(row: Row) -> bool:
    """Whether the products with global tokens take a shorter way than the definition's."""
    return any(GlobalQueries.of(row.workload, layer).is_absorbed for layer in row.workload.layers)


def _least(rows: list[Row]) -> str:
    return format_ratio(min(map(_overhead, rows)))


def _most(rows: list[Row]) -> str:
    return format_ratio(max(map(_overhead, rows)))


def _overhead(row: Row) -> float:
    return row.values["executed_macs"] / row.values["useful_macs"]


def _discordant(results: Results) -> Iterator[str]:
    """Times that are shorter beside a speed below 1, or longer beside one above."""
    if results.reference is None:
        return
    found = [
        f"{results.names[series.label]} at {format_count(row.workload.seq_len)}"
        for series, row in _pairs(results, results.reference)
    ]
    if found:
        yield (
            f"{join_words(found)}: the speed is of paired rounds, the times are medians; "
            "they disagree on the faster one"
        )


def _pairs(results: Results, reference: Series) -> list[tuple[Series, Row]]:
    return [
        (series, row) for series in results.series for row in find_discordant(series, reference)
    ]
