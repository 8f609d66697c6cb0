"""Crossover lengths in words: `fewer MACs from 2,148 tokens (0.53x at 4,096)`."""

from __future__ import annotations

import math

from attnprof.analysis.crossover import MeasuredCrossover, Side
from attnprof.analysis.findings.crossovers import CrossoverFinding, Resource
from attnprof.core.units import format_about, format_count, format_ratio

_COMPARISONS: dict[Side, dict[Resource, str]] = {
    "less": {"MACs": "fewer MACs", "memory": "less memory (predicted)", "time": "faster"},
    "equal": {"MACs": "equal MACs", "memory": "equal memory (predicted)", "time": "equal time"},
    "more": {"MACs": "more MACs", "memory": "more memory (predicted)", "time": "slower"},
}


def describe_crossovers(crossovers: tuple[CrossoverFinding, ...]) -> list[str]:
    """A line for each pair of series, with its MACs, its memory and its time."""
    by_pair: dict[tuple[str, str], list[CrossoverFinding]] = {}
    for finding in crossovers:
        by_pair.setdefault((finding.label, finding.reference), []).append(finding)
    return [
        f"{label} against {reference}: {'; '.join(map(_describe, findings))}."
        for (label, reference), findings in by_pair.items()
    ]


def _describe(finding: CrossoverFinding) -> str:
    if finding.interval and finding.interval[0] <= 1 <= finding.interval[1]:
        return _unclear(finding, finding.interval)
    if finding.crossover.before == 0:
        return _without_crossover(finding)
    if finding.crossover.side == "equal":
        return f"{_comparison(finding)} at {format_count(finding.longest)} tokens"
    if finding.measured and finding.measured.length:
        return _measured(finding, finding.measured, finding.measured.length)
    return _exact(finding)


def _unclear(finding: CrossoverFinding, interval: tuple[float, float]) -> str:
    low, high = map(format_ratio, interval)
    longest = format_count(finding.longest)
    return f"no clear difference in time at {longest} tokens (99 % interval {low} to {high})"


def _without_crossover(finding: CrossoverFinding) -> str:
    text = f"{_comparison(finding)} at every length tested"
    return text if finding.crossover.side == "equal" else f"{text} ({_ratio(finding)})"


def _measured(finding: CrossoverFinding, measured: MeasuredCrossover, length: float) -> str:
    """A crossover that was interpolated between two measured lengths, with its interval."""
    before, first = measured.crossover.before, measured.crossover.first
    low = before if measured.low is None else measured.low
    high = first if measured.high is None else measured.high
    about, shortest, longest = (format_about(end, high - low) for end in (length, low, high))
    interpolated = f"interpolated between {format_count(before)} and {format_count(first)}"
    if measured.low is None and measured.high is None:
        interval = f"could lie anywhere between {format_count(before)} and {format_count(first)}"
    elif measured.low is None:
        interval = f"99 % interval up to {longest}, lower bound unknown, {interpolated}"
    elif measured.high is None:
        interval = f"99 % interval from {shortest}, upper bound unknown, {interpolated}"
    else:
        interval = f"99 % interval {shortest} to {longest}, {interpolated}"
    return f"{_comparison(finding)} from about {about} tokens ({interval}; {_ratio(finding)})"


def _exact(finding: CrossoverFinding) -> str:
    before, first = finding.crossover.before, finding.crossover.first
    is_bracket = before + 1 != first
    start = (
        f"somewhere between {format_count(before)} and {format_count(first)}"
        if is_bracket
        else (format_count(first))
    )
    text = f"{_comparison(finding)} from {start}"
    if finding.until:
        return f"{text} to {format_count(finding.until)} tokens ({_ratio(finding)})"
    if first <= finding.longest:
        return f"{text} tokens ({_ratio(finding)})"
    exceptions = f"{format_count(finding.longest + 1)} to {format_count(before)}"
    return f"{text} tokens ({_ratio(finding)}, but not at every length from {exceptions})"


def _comparison(finding: CrossoverFinding) -> str:
    return _COMPARISONS[finding.crossover.side][finding.resource]


def _ratio(finding: CrossoverFinding) -> str:
    """The cost in units of the reference's; of a speed-up it says that it is one of times."""
    is_faster = finding.resource == "time" and finding.crossover.side == "less"
    unit = "x the time" if is_faster else "x"
    return f"{_two_digits(finding.ratio)}{unit} at {format_count(finding.longest)}"


def _two_digits(ratio: float) -> str:
    """Two digits, and a third close to 1: `0.0021`, `0.53`, `1.04`, `3.0`, `12`."""
    if 0 < ratio < 0.095:
        return f"{ratio:.{1 - math.floor(math.log10(ratio))}f}"
    decimals = 2 if ratio < 1.995 else 1 if ratio < 9.95 else 0
    return f"{ratio:,.{decimals}f}"
