"""The growth of executed MACs in a word, and in a sentence."""

from __future__ import annotations

from attnprof.analysis.findings.growth import GrowthFinding
from attnprof.report.columns import EMPTY
from attnprof.report.overview.results import Results
from attnprof.report.phrases import join_some


def law_of(finding: GrowthFinding) -> str:
    """`n²`, `n·log n`, or the power `n^1.23` of the last doubling; `constant`."""
    if finding.law is not None:
        return finding.law.name or f"n^{finding.law.exponent:.2f}"
    return finding.growth.law if finding.growth else EMPTY


def growth_sentence(results: Results) -> str:
    """How the MACs of all series grow; series that grow alike together."""
    by_law: dict[str, list[str]] = {}
    for finding in results.findings.growth:
        law = law_of(finding)
        if law != EMPTY:
            by_law.setdefault(law, []).append(results.names[finding.label])
    parts = [
        f"{'not at all' if law == 'constant' else f'as {law}'} for {join_some(names)}"
        for law, names in by_law.items()
    ]
    return f"MACs grow {', '.join(parts)}." if parts else ""
