"""What a new token has to read, and how the cache grows, where tokens are decoded."""

from __future__ import annotations

from attnprof.analysis.series import Series
from attnprof.core.cache_size import read_cache_bytes
from attnprof.core.growth.polynomial import solve_growth
from attnprof.core.units import counted, format_bytes, format_tokens
from attnprof.kernels import find_decoding
from attnprof.report.columns import EMPTY
from attnprof.report.overview.results import Results, row_at
from attnprof.report.phrases import join_some


def reading_sentence(results: Results) -> str:
    """Bytes of weights and of the cache that one call reads at the longest length.

    Empty unless tokens are decoded by built-in kernels: which keys others need is not known.
    """
    read: dict[str, list[str]] = {}
    for series in results.series:
        row = row_at(series, results.longest)
        if row is None or series.is_custom or row.workload.mode != "decode" or row.status != "ok":
            continue
        weights = (row.integer("params") or 0) * row.workload.dtype_bytes
        cached = read_cache_bytes(row.workload)
        amount = f"{format_bytes(weights)} of weights and {format_bytes(cached)} of cache"
        read.setdefault(amount, []).append(results.names[series.label])
    if not read:
        return ""
    parts = [f"{amount} with {join_some(names)}" for amount, names in read.items()]
    return f"{_subject(results)} has to read {'; '.join(parts)}."


def _subject(results: Results) -> str:
    """`Each new token at 4,096 tokens`, or the call of several."""
    new = results.series[0].workload.new_tokens
    what = "Each new token" if new == 1 else f"A call of {counted(new, 'new token')}"
    return f"{what} at {format_tokens(results.longest)}"


def cache_growth(series: Series) -> str:
    """How what a kernel's cache allocates grows with the context: `n` or `constant`.

    Of custom kernels that is not known.
    """
    workload = series.workload
    if workload.mode != "decode" or series.is_custom or not series.is_supported:
        return EMPTY
    longest, kernel = workload.seq_len, find_decoding(series.rows[0].kernel)
    growth = solve_growth(
        lambda seq_len: kernel.cache_bytes(workload.at(seq_len)),
        [longest, 2 * longest, 3 * longest, 4 * longest],
    )
    return EMPTY if growth.residual else growth.law
