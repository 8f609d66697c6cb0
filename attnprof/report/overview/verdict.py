"""The verdict in at most five sentences: which kernel, from which length, at what price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attnprof.analysis.findings.fastest import FastestFinding
from attnprof.core.result_table import Row
from attnprof.core.units import (
    format_duration,
    format_long_duration,
    format_macs,
    format_ratio,
    format_tokens,
)
from attnprof.report.overview.coverage import coverage_sentence
from attnprof.report.overview.decoding import reading_sentence
from attnprof.report.overview.laws import growth_sentence
from attnprof.report.overview.pays import others_sentence, pays_sentence
from attnprof.report.overview.results import Results, row_at
from attnprof.report.phrases import join_lengths, join_some, join_words

MOST_SENTENCES = 5

_MOST_GROUPS = 3
"""More groups of lengths than this are only counted."""


def verdict_of(results: Results) -> tuple[str, ...]:
    """The sentences, the most important first."""
    by_length = results.fastest()
    is_compared = len(results.series) > 1
    if is_compared and by_length and all(finding.withheld for finding in by_length):
        best = [
            "No verdict on speed: other work disturbed the timing (see noise).",
            _fewest_macs(results),
        ]
    else:
        best = [
            _at_longest(results, by_length[-1]) if by_length else "",
            _at_other_lengths(results, by_length),
        ]
    if not by_length and all(row.status != "ok" for one in results.series for row in one.rows):
        best = ["No kernel has a result here; the reasons are below."]
    sentences = [
        *best,
        reading_sentence(results),
        pays_sentence(results),
        others_sentence(results),
        coverage_sentence(results),
        "" if results.is_timed and is_compared else growth_sentence(results),
    ]
    return tuple(sentence for sentence in sentences if sentence)[:MOST_SENTENCES]


def _at_longest(results: Results, finding: FastestFinding) -> str:
    names = [results.names[label] for label in finding.best]
    place = f"At {format_tokens(finding.seq_len)}"
    if len(finding.contenders) == 1 or len(results.series) == 1:
        return _of_only_one(results, finding, place)
    if finding.withheld:
        return f"{place} no verdict on speed: other work disturbed the timing (see noise)."
    if finding.measure == "MACs":
        verb = "executes" if len(names) == 1 else "execute"
        return f"{place} {join_some(names)} {verb} the fewest MACs{_price(results, finding)}."
    if len(names) > 1 and finding.measure == "time":
        return (
            f"{place} {join_some(names)} are too close to call{_speed_of_best(results, finding)}."
        )
    if len(names) > 1:
        rows = [_row_of(results, label, finding.seq_len) for label in finding.best]
        times = join_some([_time_text(row) for row in rows if row])
        return f"{place} the predicted times of {join_some(names)} overlap: {times}."
    verb = "is fastest" if finding.measure == "time" else "is predicted to be fastest"
    return f"{place} {names[0]} {verb}{_price(results, finding)}."


def _fewest_macs(results: Results) -> str:
    """What is known of costs where no verdict on speed is."""
    rows = [(series.label, row_at(series, results.longest)) for series in results.series]
    macs = {
        label: count
        for label, row in rows
        if row and row.status == "ok" and (count := row.integer("executed_macs"))
    }
    if len(macs) < 2:
        return ""
    least = min(macs.values())
    names = [results.names[label] for label, count in macs.items() if count == least]
    reference = macs.get(results.reference.label) if results.reference else None
    price = ""
    if results.reference and reference and reference != least:
        price = f", {_ratio(least, reference)} {results.names[results.reference.label]}'s"
    verb = "executes" if len(names) == 1 else "execute"
    place = f"At {format_tokens(results.longest)}"
    return f"{place} {join_some(names)} {verb} the fewest MACs{price}."


def _of_only_one(results: Results, finding: FastestFinding, place: str) -> str:
    """A finding without anything to compare: the cost itself."""
    # A disturbed time has nothing to contend with, but is known.
    contenders = finding.contenders
    label = contenders[0].label if contenders else results.series[0].label
    name = results.names[label]
    row = _row_of(results, label, finding.seq_len)
    macs = row.integer("executed_macs") if row else None
    count = f"{format_macs(macs)}" if macs else ""
    if finding.measure == "MACs" or row is None:
        return f"{place} {name} executes {count}." if count else ""
    return f"{place} {name} takes {_time_text(row)}" + (f" for {count}." if count else ".")


def _price(results: Results, finding: FastestFinding) -> str:
    """How much better the best is, and its MACs and memory in units of the reference's."""
    label = finding.best[0]
    reference = results.reference
    if reference is None or reference.label in finding.best:
        return _next_best(results, finding)
    beside = results.names[reference.label]
    row = _row_of(results, label, finding.seq_len)
    of_reference = row_at(reference, finding.seq_len)
    if row is None or of_reference is None:
        return ""
    macs = _ratio(row.integer("executed_macs"), of_reference.integer("executed_macs"))
    memory = _ratio(results.peak_bytes(row), results.peak_bytes(of_reference))
    speed = row.speed_against(reference.rows[0].kernel) if finding.measure == "time" else None
    if finding.measure == "MACs":
        return f", {macs} {beside}'s" + (f", with {memory} its memory" if memory else "")
    parts = [f"{macs} its MACs"] if macs else []
    parts += [f"{memory} its memory"] if memory else []
    lead = f": {format_ratio(speed.median)} as fast as {beside}" if speed else ""
    if not lead and (others := _time_text(of_reference)):
        lead = f": {_time_text(row)}, against {others} for {beside}"
    lead = lead or f": {_time_text(row)}"
    return lead + (f", with {join_words(parts)}" if parts else "")


def _next_best(results: Results, finding: FastestFinding) -> str:
    """The best of the others, by the number that the table shows for it."""
    others = [one for one in finding.contenders if one.label not in finding.best]
    if not others:
        return ""
    label = others[0].label
    row = _row_of(results, label, finding.seq_len)
    if row is None:
        return ""
    shown = _time_text(row)
    if finding.measure == "time" and results.reference and finding.reference:
        shown = f"{format_ratio(others[0].score.median)} its speed"
    elif finding.measure == "MACs":
        best = _row_of(results, finding.best[0], finding.seq_len)
        macs = best.integer("executed_macs") if best else None
        whose = "its" if len(finding.best) == 1 else "their"
        shown = f"{_ratio(row.integer('executed_macs'), macs)} {whose} MACs"
    return f"; next is {results.names[label]} with {shown}"


def _speed_of_best(results: Results, finding: FastestFinding) -> str:
    """The speed of the other of two that are too close to call, where one is the reference."""
    if finding.reference and finding.reference not in finding.best:
        speeds = [one.score.median for one in finding.contenders if one.label in finding.best]
        slowest, fastest = format_ratio(min(speeds)), format_ratio(max(speeds))
        speed = " to ".join(dict.fromkeys((slowest, fastest)))
        return f": {speed} as fast as {results.names[finding.reference]}"
    if len(finding.best) != 2 or finding.reference not in finding.best:
        return ""
    (other,) = (
        one
        for one in finding.contenders
        if one.label in finding.best and one.label != finding.reference
    )
    low, high = format_ratio(other.score.low, ""), format_ratio(other.score.high)
    speed = format_ratio(other.score.median)
    return f": {results.names[other.label]} has {speed} the speed ({low} to {high})"


def _at_other_lengths(results: Results, findings: Sequence[FastestFinding]) -> str:
    """Who is best at the lengths but the longest; lengths with the same answer together."""
    groups: dict[tuple[tuple[str, ...], str, bool], list[int]] = {}
    for finding in findings[:-1]:
        if len(finding.contenders) > 1 or (finding.withheld and len(results.series) > 1):
            best = tuple(sorted(finding.best, key=list(results.names).index))
            groups.setdefault((best, finding.measure, finding.withheld), []).append(finding.seq_len)
    if findings and (same := _same_as_at_longest(results, groups, findings[-1])):
        return same
    texts = [
        _group_text(results, best, measure, lengths, withheld=withheld)
        for (best, measure, withheld), lengths in groups.items()
    ]
    more = len(texts) - _MOST_GROUPS
    if more > 0:
        texts = [*texts[:_MOST_GROUPS], f"{more} more groups of lengths: --details"]
    text = "; ".join(texts)
    return (
        f"{text[:1].upper()}{text[1:]}." if text.startswith("at ") else f"{text}." if text else ""
    )


def _same_as_at_longest(
    results: Results,
    groups: Mapping[tuple[tuple[str, ...], str, bool], list[int]],
    at: FastestFinding,
) -> str:
    """A sentence for when all other lengths have the answer of the longest; else empty."""
    if len(groups) != 1:
        return ""
    ((best, measure, withheld), lengths) = next(iter(groups.items()))
    if withheld or at.withheld or set(best) != set(at.best) or measure != at.measure:
        return ""
    what = {
        ("time", False): "It is fastest",
        ("time", True): "They are too close to call",
        ("predicted time", False): "It is predicted to be fastest",
        ("predicted time", True): "They overlap",
        ("MACs", False): "It executes the fewest MACs",
        ("MACs", True): "They execute the fewest MACs",
    }[at.measure, len(best) > 1]
    return f"{what} at {join_lengths(lengths, results.lengths)} too."


def _group_text(
    results: Results, best: Sequence[str], measure: str, lengths: list[int], *, withheld: bool
) -> str:
    place = join_lengths(lengths, results.lengths)
    names = join_some([results.names[label] for label in best])
    if withheld:
        return f"at {place} there is no verdict (see noise)"
    if measure == "MACs":
        return f"{names} {'executes' if len(best) == 1 else 'execute'} the fewest MACs at {place}"
    if len(best) > 1 and measure == "time":
        return f"at {place} {names} are too close to call"
    if len(best) > 1:
        return f"at {place} the predicted times of {names} overlap"
    verb = "is fastest" if measure == "time" else "is predicted to be fastest"
    return f"{names} {verb} at {place}"


def _row_of(results: Results, label: str, seq_len: int) -> Row | None:
    return next(
        (row_at(series, seq_len) for series in results.series if series.label == label), None
    )


def _time_text(row: Row) -> str:
    """The measured time, or else the predicted one; empty without either."""
    time, predicted = row.integer("time_ns"), row.integer("predicted_time_ns")
    if time is not None:
        return format_duration(time)
    return "" if predicted is None else f"≈ {format_long_duration(predicted)}"


def _ratio(cost: int | None, reference: int | None) -> str:
    return format_ratio(cost / reference) if cost and reference else ""
