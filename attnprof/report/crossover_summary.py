"""Crossover lengths in words: `fewer MACs from 2,148 tokens (0.53x at 4,096)`."""

from __future__ import annotations

from attnprof.analysis.crossover import Side
from attnprof.analysis.findings.crossovers import CrossoverFinding, Resource
from attnprof.analysis.measured_crossover import MeasuredCrossover
from attnprof.core.units import format_about, format_count, format_ratio, format_tokens
from attnprof.report.phrases import join_lengths

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
    if finding.measured is not None:
        return _in_time(finding, finding.measured)
    if finding.crossover.before == 0:
        return _without_crossover(finding)
    if finding.crossover.side == "equal":
        return f"{_comparison(finding)} at {format_tokens(finding.longest)}"
    return _exact(finding)


def _without_crossover(finding: CrossoverFinding) -> str:
    text = f"{_comparison(finding)} at every length tested"
    return text if finding.crossover.side == "equal" else f"{text} ({_ratio(finding)})"


def _in_time(finding: CrossoverFinding, measured: MeasuredCrossover) -> str:
    """What verdicts say: a crossover, what is known beside it, and what is not."""
    if measured.is_same_everywhere and len(measured.lengths) > 1:
        return _without_crossover(finding)
    side, before = finding.crossover.side, finding.crossover.before
    if measured.length is not None:
        text = f"{_comparison(finding)} from about {_interpolated(finding, measured)}"
    elif side == "equal":
        text = ""
    elif before:
        bracket = f"between {format_count(before)} and {format_count(finding.crossover.first)}"
        text = f"{_comparison(finding)} from somewhere {bracket} tokens ({_ratio(finding)})"
    else:
        text = f"{_comparison(finding)} at {lengths_with(measured, side)} ({_ratio(finding)})"
    return ", ".join(part for part in (text, *_beside(finding, measured)) if part)


def lengths_with(measured: MeasuredCrossover, side: Side) -> str:
    """The measured lengths whose verdict is that side: `1,024 and 4,096`."""
    outcome = _COMPARISONS[side]["time"]
    lengths = [timed.seq_len for timed in measured.lengths if timed.outcome == outcome]
    return join_lengths(lengths, [timed.seq_len for timed in measured.lengths])


def _beside(finding: CrossoverFinding, measured: MeasuredCrossover) -> list[str]:
    """The lengths that a crossover says nothing of: undecided, withheld, or once more like it."""
    crossover = finding.crossover
    told = _told(measured)
    by_outcome: dict[str, list[int]] = {}
    for timed in measured.lengths:
        if timed.seq_len not in told:
            by_outcome.setdefault(timed.outcome, []).append(timed.seq_len)
    words = {_COMPARISONS[crossover.side]["time"]: f"also {_COMPARISONS[crossover.side]['time']}"}
    words["withheld"] = "no verdict"
    every = [timed.seq_len for timed in measured.lengths]
    return [
        f"{words.get(outcome, outcome)} at {join_lengths(lengths, every)}"
        for outcome, lengths in by_outcome.items()
    ]


def _told(measured: MeasuredCrossover) -> set[int]:
    """The lengths whose verdict follows from the crossover alone."""
    side, before, first = (
        measured.crossover.side,
        measured.crossover.before,
        measured.crossover.first,
    )
    if side == "equal":
        return set()
    outcomes = {"less": ("faster", "slower"), "more": ("slower", "faster")}[side]
    return {
        timed.seq_len
        for timed in measured.lengths
        if (timed.outcome == outcomes[0] and (timed.seq_len >= first or not before))
        or (timed.outcome == outcomes[1] and timed.seq_len <= before)
    }


def _interpolated(finding: CrossoverFinding, measured: MeasuredCrossover) -> str:
    """A crossover that was interpolated between two measured lengths, with its interval."""
    before, first = finding.crossover.before, finding.crossover.first
    shortest, about, longest = format_between(measured)
    return (
        f"{about} tokens (99 % interval {shortest} to {longest}, interpolated between "
        f"{format_count(before)} and {format_count(first)}; {_ratio(finding)})"
    )


def format_between(measured: MeasuredCrossover) -> tuple[str, str, str]:
    """The ends of an interpolated crossover's interval and the crossover between them, rounded.

    None of them is rounded to or beyond the measured lengths, at which the sides are known.

    Raises:
        ValueError: for a crossover that was not interpolated.
    """
    length, low, high = measured.length, measured.low, measured.high
    if length is None or low is None or high is None:
        raise ValueError("no crossover was interpolated")
    before, first = measured.crossover.before, measured.crossover.first

    def rounded(value: float) -> str:
        spread = high - low
        while spread > 1:
            text = format_about(value, spread)
            if before < int(text.replace(",", "")) < first:
                return text
            spread /= 10
        return format_count(min(max(round(value), before + 1), first))

    return rounded(low), rounded(length), rounded(high)


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
        return f"{text} to {format_tokens(finding.until)} ({_ratio(finding)})"
    if first <= finding.longest:
        return f"{text} tokens ({_ratio(finding)})"
    exceptions = f"{format_count(finding.longest + 1)} to {format_count(before)}"
    return f"{text} tokens ({_ratio(finding)}, but not at every length from {exceptions})"


def _comparison(finding: CrossoverFinding) -> str:
    return _COMPARISONS[finding.crossover.side][finding.resource]


def _ratio(finding: CrossoverFinding) -> str:
    """The cost in units of the reference's; of times the speed, as everywhere else."""
    ratio = 1 / finding.ratio if finding.resource == "time" else finding.ratio
    return f"{format_ratio(ratio)} at {format_count(finding.longest)}"
