"""What ptflops misses, in one sentence."""

from __future__ import annotations

from attnprof.analysis.findings.counters import CounterFinding
from attnprof.core.units import format_count, format_share
from attnprof.report.overview.results import Results
from attnprof.report.phrases import join_some

_LEAST_MISSED = 0.01
"""A smaller part of the executed MACs is not worth a sentence."""


def coverage_sentence(results: Results) -> str:
    """What the default backend misses, the largest share first; empty if it counts all."""
    found = [finding for finding in results.findings.counters if _is_missing(finding)]
    found.sort(key=_missed, reverse=True)
    if not found:
        return ""
    first = f"{_share(found[0])} of {results.names[found[0].label]}'s MACs{_reason(found[0])}"
    others = [f"{_share(one)} of {results.names[one.label]}'s" for one in found[1:]]
    return f"ptflops misses {join_some([first, *others])} at {format_count(found[0].seq_len)}."


def _missed(finding: CounterFinding) -> float:
    return 1 - finding.counted_macs / finding.executed_macs


def _is_missing(finding: CounterFinding) -> bool:
    return finding.backend == "pytorch" and _missed(finding) >= _LEAST_MISSED


def _share(finding: CounterFinding) -> str:
    return format_share(finding.executed_macs - finding.counted_macs, finding.executed_macs)


def _reason(finding: CounterFinding) -> str:
    if finding.is_training:
        return " (no backward pass)"
    return f" ({finding.missed_operator})" if finding.missed_operator else ""
