"""Findings in plain words, one sentence a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attnprof.analysis.findings import Findings
from attnprof.analysis.findings.counters import CounterFinding
from attnprof.analysis.findings.growth import GrowthFinding
from attnprof.analysis.findings.max_length import MaxLengthFinding
from attnprof.analysis.findings.speed import LengthVerdict, VerdictFinding
from attnprof.analysis.series import labels
from attnprof.core.growth.laws import DoublingLaw
from attnprof.core.growth.polynomial import Growth
from attnprof.core.result_table import ResultTable, Row
from attnprof.core.units import (
    format_about,
    format_bytes,
    format_count,
    format_long_duration,
    format_macs,
    format_ratio,
    format_share,
    format_tokens,
)
from attnprof.core.verdict import MIN_DECIDABLE_DIFFERENCE, MOST_ROUNDS
from attnprof.report.crossover_summary import describe_crossovers
from attnprof.report.phrases import join_words

_LAWS = {
    "constant": "does not grow with length (constant)",
    "n": "grows linearly (n)",
    "n²": "grows quadratically (n²)",
    "n³": "grows cubically (n³)",
}

_MIN_SHARE = 0.05
"""A constant below this part of a linear cost is not reported."""

_SMALLEST_SHARE = 0.0005
"""Terms below this part of any cost are not reported: they would round to 0.0 %."""

_MIN_EXPONENT_GAP = 0.05
"""Exponents of counted and executed MACs closer than this are not reported."""


def describe_findings(findings: Findings) -> list[tuple[str, list[str]]]:
    """Headings, each with its sentences; headings without any are left out."""
    sections = [
        ("Growth of executed MACs", _growth_lines(findings.growth)),
        *_verdict_sections(findings.verdicts),
        ("Crossover lengths", describe_crossovers(findings.crossovers)),
        ("Maximum length in available memory", _max_length_lines(findings.max_lengths)),
        ("ptflops coverage", _counter_lines(findings.counters)),
    ]
    return [(heading, lines) for heading, lines in sections if lines]


def describe_notes(table: ResultTable) -> list[str]:
    """Notes on single rows: why cells are empty, which times are uncertain.

    Rows with the same note share a line.
    """
    label_of = labels(table)
    by_text: dict[str, dict[str, list[int]]] = {}
    for row in table.rows:
        if row.details:
            lengths_of = by_text.setdefault(_note(row), {})
            lengths_of.setdefault(label_of(row), []).append(row.workload.seq_len)
    return [
        f"{names} at {', '.join(map(format_count, lengths))}: {text}"
        for text, lengths_of in by_text.items()
        for names, lengths in _alike(lengths_of)
    ]


def _alike(lengths_of: Mapping[str, list[int]]) -> Iterator[tuple[str, list[int]]]:
    """Names of series that have a note at the same lengths, and these lengths."""
    names_at: dict[tuple[int, ...], list[str]] = {}
    for name, lengths in lengths_of.items():
        names_at.setdefault(tuple(lengths), []).append(name)
    for lengths, names in names_at.items():
        yield join_words(names), list(lengths)


def _note(row: Row) -> str:
    is_ok = row.status == "ok"
    parts = row.details if is_ok else [*row.details, row.prediction]
    text = "; ".join(dict.fromkeys(part for part in parts if part))
    return text if is_ok else f"{row.status}: {text}"


def _growth_lines(growth: tuple[GrowthFinding, ...]) -> list[str]:
    """Series that grow alike share a line."""
    by_text: dict[str, list[str]] = {}
    for finding in growth:
        by_text.setdefault(_growth_text(finding), []).append(finding.label)
    return [f"{', '.join(names)}: {text}." for text, names in by_text.items()]


def _growth_text(finding: GrowthFinding) -> str:
    growth, law = finding.growth, finding.law
    padding = f", padded to multiples of {format_tokens(finding.step)}" if finding.step > 1 else ""
    if growth is None:
        return f"{_law_text(law, padding)}; no exact polynomial" if law else f"unknown{padding}"
    if growth.law == "constant" and law is None:
        return _LAWS["constant"]
    text = f"{_LAWS[growth.law]}{padding}"
    if finding.multiple > 1:
        text += f", checked at multiples of {format_tokens(finding.multiple)}"
    text += _shares_text(growth, finding.longest)
    if growth.quadratic_dominates_from:
        dominant = format_tokens(growth.quadratic_dominates_from)
        text += f"; the n² term dominates from {dominant}"
    if law:
        text += f". This holds up to {format_tokens(finding.solved_to)}; at longer lengths it "
        text += _law_text(law, "")
    return text


def _shares_text(growth: Growth, seq_len: int) -> str:
    """What each term contributes at a length; empty where one is negative, or is nearly all."""
    every = growth.shares(seq_len)
    shares = {name: share for name, share in every.items() if abs(share) >= _SMALLEST_SHARE}
    lesser = list(shares.values())[1:]
    if growth.law not in shares or not lesser or min(shares.values()) < 0:
        return ""
    if growth.law != "n²" and max(lesser) < _MIN_SHARE:
        return ""
    terms = join_words(
        [f"{format_share(float(share), 1)} {name}" for name, share in shares.items()]
    )
    return f": {terms} at {format_tokens(seq_len)}"


def _law_text(law: DoublingLaw, padding: str) -> str:
    if law.name or law.is_settled:
        name = law.name or f"n^{law.exponent:.2f}"
        checked = f"checked up to {format_tokens(law.longer)}"
        return f"{_LAWS.get(name, f'grows as {name}')}{padding}, {checked}"
    ends = f"from {format_count(law.shorter)} to {format_tokens(law.longer)}"
    return f"grows as n^{law.exponent:.2f}{padding}, {ends}"


def _verdict_sections(verdicts: tuple[VerdictFinding, ...]) -> list[tuple[str, list[str]]]:
    by_reference: dict[str, list[str]] = {}
    for finding in verdicts:
        by_reference.setdefault(finding.reference, []).append(_verdict_line(finding))
    return [(f"Speed relative to {name}", lines) for name, lines in by_reference.items()]


def _verdict_line(finding: VerdictFinding) -> str:
    verdicts = [_verdict_text(verdict) for verdict in finding.lengths]
    withheld = [
        f"at {join_words([format_count(length) for length in lengths])} {reason}"
        for reason, lengths in finding.withheld.items()
    ]
    return f"{finding.label}: {'; '.join([*verdicts, *withheld])}."


def _verdict_text(at_length: LengthVerdict) -> str:
    verdict = at_length.verdict
    low, high = (format_ratio(end, "") for end in (verdict.speed.low, verdict.speed.high))
    text = (
        f"{verdict.outcome} at {format_count(at_length.seq_len)} "
        f"({format_ratio(verdict.speed.median)}, {low} to {high})"
    )
    advice = _advice(at_length)
    return f"{text}, {advice}" if advice else text


def _advice(at_length: LengthVerdict) -> str:
    """What would decide an undecided verdict; empty where that is not known."""
    verdict, needed = at_length.verdict, at_length.verdict.rounds_needed
    if verdict.is_too_close:
        least = format_share(MIN_DECIDABLE_DIFFERENCE, 1, digits=0)
        distance = "less than" if verdict.is_within_resolution else "just over"
        return f"too close to call: {distance} {least} apart"
    if needed is None:
        return ""
    if needed > MOST_ROUNDS:
        return f"needs more than {format_count(MOST_ROUNDS)} rounds: reduce background load"
    text = f"needs about {format_about(needed, needed / 2)} rounds"
    seconds = at_length.seconds_needed
    return f"{text} (--max-seconds {seconds})" if seconds else text


def _max_length_lines(max_lengths: tuple[MaxLengthFinding, ...]) -> list[str]:
    return [f"{finding.label}: {_max_length_text(finding)}." for finding in max_lengths]


def _max_length_text(finding: MaxLengthFinding) -> str:
    available = format_bytes(finding.available_bytes)
    if finding.longest == 0:
        return f"no length fits in {available}"
    text = f"up to {format_tokens(finding.longest)} in {available}"
    if finding.time is None:
        return text
    time, low, high = (
        format_long_duration(end)
        for end in (finding.time.time_ns, finding.time.low_ns, finding.time.high_ns)
    )
    return f"{text}; predicted time ≈ {time} ({low} to {high})"


def _counter_lines(counters: tuple[CounterFinding, ...]) -> list[str]:
    """Backends that count alike share a line."""
    by_text: dict[tuple[str, str], list[str]] = {}
    for finding in counters:
        key = finding.label, _counter_text(finding)
        by_text.setdefault(key, []).append(finding.backend)
    return [
        f"{label}, {' and '.join(backends)} {'backends' if len(backends) > 1 else 'backend'}: "
        f"{text}."
        for (label, text), backends in by_text.items()
    ]


def _counter_text(finding: CounterFinding) -> str:
    share = format_share(finding.counted_macs, finding.executed_macs)
    missing = finding.executed_macs - finding.counted_macs
    text = f"{share} of the executed MACs at {format_tokens(finding.seq_len)}"
    if finding.is_training:
        return f"{text} (forward and backward); the backward pass is not counted"
    if missing > 0:
        text += f"; misses {_rounded_macs(missing)}"
        if finding.missed_operator:
            text += f": {finding.missed_operator} is not counted"
    else:
        text += "; the surplus is bias and elementwise operations, which are not MACs"
    if finding.shorter and _grows_differently(finding):
        text += (
            f". From {format_count(finding.shorter)} to {format_tokens(finding.seq_len)} "
            f"its count grows as n^{finding.counted_exponent:.2f}, the executed MACs as "
            f"n^{finding.executed_exponent:.2f}"
        )
    return text


def _grows_differently(finding: CounterFinding) -> bool:
    return abs(finding.counted_exponent - finding.executed_exponent) > _MIN_EXPONENT_GAP


def _rounded_macs(macs: int) -> str:
    """MACs to one decimal: `2.6 GMac`."""
    number, unit = format_macs(macs).split(" ")
    return f"{float(number):.1f} {unit}" if "." in number else f"{number} {unit}"
