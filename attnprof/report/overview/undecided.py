"""What is undecided, and what would decide it, in one line."""

from __future__ import annotations

from attnprof.analysis.findings.speed import LengthVerdict
from attnprof.core.units import format_ratio, format_share
from attnprof.core.verdict import MIN_DECIDABLE_DIFFERENCE
from attnprof.report.columns import UNDECIDED
from attnprof.report.overview.results import Results
from attnprof.report.phrases import join_lengths, join_some, join_words


def undecided_line(results: Results) -> str:
    """The undecided verdicts together; empty if there are none."""
    undecided: dict[str, list[LengthVerdict]] = {}
    for finding in results.findings.verdicts:
        for at_length in finding.lengths:
            if at_length.verdict.outcome == "undecided":
                undecided.setdefault(results.names[finding.label], []).append(at_length)
    if not undecided:
        return ""
    every = [at_length for verdicts in undecided.values() for at_length in verdicts]
    names_at: dict[str, list[str]] = {}
    for name, verdicts in undecided.items():
        place = join_lengths([one.seq_len for one in verdicts], results.lengths)
        names_at.setdefault(place, []).append(name)
    texts = [f"{join_words(names)} at {place}" for place, names in names_at.items()]
    if len(every) == 1:
        speed = every[0].verdict.speed
        texts[0] += f" ({format_ratio(speed.low, '')} to {format_ratio(speed.high)})"
    remedy = _remedy(every)
    return f"{UNDECIDED} undecided: {join_some(texts)}" + (f"; {remedy}" if remedy else "")


def _remedy(undecided: list[LengthVerdict]) -> str:
    """What would decide them all; of those that nothing would, that they are too close."""
    seconds = [one.seconds_needed for one in undecided]
    known = [number for number in seconds if number]
    if known:
        return f"try --max-seconds {max(known)}"
    if all(one.verdict.is_too_close for one in undecided):
        least = format_share(MIN_DECIDABLE_DIFFERENCE, 1, digits=0)
        return f"too close to call, within {least}"
    if any(one.verdict.rounds_needed for one in undecided):
        return "reduce background load"
    return ""
