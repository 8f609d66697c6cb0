"""From which lengths a kernel costs less than the reference, and which never do."""

from __future__ import annotations

import math

from attnprof.analysis.cost_functions import QUANTITIES
from attnprof.analysis.findings.crossovers import CrossoverFinding
from attnprof.analysis.measured_crossover import MeasuredCrossover
from attnprof.analysis.series import Series
from attnprof.core.units import format_count, format_ratio, format_tokens
from attnprof.report.crossover_summary import format_between, lengths_with
from attnprof.report.overview.results import Results, row_at
from attnprof.report.phrases import join_some, join_words

_MOST_NAMED = 2
"""Kernels of one kind that a sentence names; more are only counted."""

_MUCH_MORE = 1.05
"""A memory that is larger by less than this factor is not worth a sentence."""

_ORDER = ("MACs", "time", "memory")


def pays_sentence(results: Results) -> str:
    """From which length on the best sparse or custom kernel costs less than the reference."""
    label = _most_promising(results)
    if label is None or results.reference is None:
        return ""
    reference = results.reference.label
    found = [
        finding
        for finding in results.findings.crossovers
        if (finding.label, finding.reference) == (label, reference)
    ]
    found.sort(key=lambda finding: _ORDER.index(finding.resource))
    resources: dict[str, list[str]] = {}
    for finding in found:
        since = _since(finding, results)
        resources.setdefault(since, []).append(_resource(finding))
    parts = [f"{since} in {join_words(which)}" for since, which in resources.items()]
    names = results.names[label], results.names[reference]
    return f"{names[0]} pays off against {names[1]} {join_words(parts)}."


def _resource(finding: CrossoverFinding) -> str:
    return "memory (predicted)" if finding.resource == "memory" else finding.resource


def _most_promising(results: Results) -> str | None:
    """The best at the longest length, of the series that crossovers were found for."""
    reference = results.reference.label if results.reference else ""
    found = [
        finding.label for finding in results.findings.crossovers if finding.reference == reference
    ]
    fastest = results.fastest()
    ranked = [one.label for one in fastest[-1].contenders] if fastest else []
    by_macs = sorted(results.series, key=lambda series: _macs_at_longest(results, series))
    ranked += [series.label for series in by_macs]
    return next((label for label in ranked if label in found), None)


def _macs_at_longest(results: Results, series: Series) -> float:
    row = row_at(series, results.longest)
    macs = row.integer("executed_macs") if row else None
    return math.inf if macs is None else macs


def _since(finding: CrossoverFinding, results: Results) -> str:
    """`from 528 tokens`, `up to 2,147 tokens`, `at every length`, `at no length up to 527`."""
    if finding.measured is not None:
        return _since_in_time(finding, finding.measured)
    crossover, until = finding.crossover, finding.until
    first, before = format_count(crossover.first), format_count(crossover.before)
    if crossover.side == "less" and not crossover.before:
        return "at every length" if until is None else f"up to {format_tokens(until)}"
    if crossover.side == "less":
        start = first
        if crossover.before + 1 != crossover.first:
            start = f"somewhere between {before} and {first}"
        if crossover.first > finding.longest:
            # Padding takes the gain back between the longest length tested and that one.
            return f"at {format_count(finding.longest)} and for good from {start} tokens"
        if until is not None:
            return f"from {start} to {format_count(until)} tokens"
        lead = "for good from" if _has_gain_before(finding, results) else "from"
        return f"{lead} {start} tokens"
    # The side of the longest length says nothing of shorter ones.
    if crossover.before and until is not None:
        return f"at {before} but not from {first} to {format_tokens(until)}"
    if crossover.before:
        is_tested = crossover.before >= results.shortest
        return f"only up to {before} tokens" if is_tested else "at no length tested"
    return f"at no length up to {format_tokens(until or finding.longest)}"


def _has_gain_before(finding: CrossoverFinding, results: Results) -> bool:
    """Whether it costs less at a shorter length tested already, before it costs more once again."""
    quantity = QUANTITIES["memory" if finding.resource == "memory" else "MACs"]
    points: dict[str, dict[int, int]] = {
        series.label: dict(series.points(quantity)) for series in results.series
    }
    costs, references = points[finding.label], points[finding.reference]
    shorter = (length for length in costs if length <= finding.crossover.before)
    return any(costs[length] < references.get(length, 0) for length in shorter)


def _since_in_time(finding: CrossoverFinding, measured: MeasuredCrossover) -> str:
    crossover = finding.crossover
    first, before = format_count(crossover.first), format_count(crossover.before)
    if crossover.side == "equal":
        faster = lengths_with(measured, "less")
        is_withheld = measured.lengths[-1].outcome == "withheld"
        lead = "not known" if is_withheld else "undecided"
        return f"at {faster}" if faster else f"{lead} at {format_count(finding.longest)}"
    if measured.is_same_everywhere and len(measured.lengths) > 1:
        return f"at {'every' if crossover.side == 'less' else 'no'} length tested"
    lead = "from" if crossover.side == "less" else "only up to"
    if measured.length is not None:
        return f"{lead} about {format_between(measured)[1]}"
    if crossover.before:
        return f"{lead} somewhere between {before} and {first}"
    decided = lengths_with(measured, crossover.side)
    return f"{'at' if crossover.side == 'less' else 'not at'} {decided}"


def others_sentence(results: Results) -> str:
    """Who else is faster or slower than the reference at the longest length, and its memory."""
    reference = results.reference
    if reference is None:
        return ""
    told = {reference.label, *(results.fastest()[-1].best if results.fastest() else ())}
    groups: dict[str, list[str]] = {}
    is_everywhere: dict[str, bool] = {}
    for series in results.series:
        row = row_at(series, results.longest)
        verdict = row.verdict_against(reference.rows[0].kernel) if row else None
        if verdict is None or series.label in told or verdict.outcome == "undecided":
            continue
        groups.setdefault(verdict.outcome, []).append(_with_memory(results, series, reference))
        same = _is_same_everywhere(series, reference, verdict.outcome)
        is_everywhere[verdict.outcome] = is_everywhere.get(verdict.outcome, True) and same
    if not groups:
        return _memory_sentence(results, reference)
    name = results.names[reference.label]
    longest = format_count(results.longest)
    texts = [
        f"{outcome} than {name} at {'every length' if is_everywhere[outcome] else longest}: "
        f"{join_some(groups[outcome], _MOST_NAMED)}"
        for outcome in ("faster", "slower")
        if outcome in groups
    ]
    text = "; ".join(texts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _memory_sentence(results: Results, reference: Series) -> str:
    """Who needs more memory than the reference at the longest length; empty if nobody does."""
    best = results.fastest()[-1].best if results.fastest() else ()
    # The first sentence has the memory of a single winner, unless that is the reference.
    told = {reference.label, *(best if len(best) == 1 else ())}
    beside = row_at(reference, results.longest)
    reference_peak = results.peak_bytes(beside) if beside else None
    ratios: list[tuple[float, str]] = []
    for series in results.series:
        row = row_at(series, results.longest)
        peak = results.peak_bytes(row) if row else None
        if not peak or not reference_peak or series.label in told:
            continue
        if peak > _MUCH_MORE * reference_peak:
            ratios.append((peak / reference_peak, results.names[series.label]))
    texts = [f"{name} ({format_ratio(ratio)})" for ratio, name in sorted(ratios)]
    place = f"{results.names[reference.label]} at {format_count(results.longest)}"
    return f"More memory than {place}: {join_some(texts)}." if texts else ""


def _is_same_everywhere(series: Series, reference: Series, outcome: str) -> bool:
    """Whether all lengths at which the series was timed, more than one, have that verdict."""
    timed = [row for row in series.rows if "time_ns" in row.values]
    verdicts = [row.verdict_against(reference.rows[0].kernel) for row in timed]
    return len(timed) > 1 and all(one and one.outcome == outcome for one in verdicts)


def _with_memory(results: Results, series: Series, reference: Series) -> str:
    """`bert-eager (0.28x, 32.0x its memory)`."""
    row, beside = row_at(series, results.longest), row_at(reference, results.longest)
    speed = row.speed_against(reference.rows[0].kernel) if row else None
    parts = [format_ratio(speed.median)] if speed else []
    if row and beside:
        peak, reference_peak = results.peak_bytes(row), results.peak_bytes(beside)
        if peak and reference_peak:
            parts.append(f"{format_ratio(peak / reference_peak)} its memory")
    return f"{results.names[series.label]} ({', '.join(parts)})"
