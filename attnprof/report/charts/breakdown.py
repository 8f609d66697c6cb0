"""What the breakdown chart shows, as plain data: the parts of each kernel's MACs at each length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from attnprof import kernels
from attnprof.analysis.cost_functions import has_closed_form
from attnprof.analysis.findings.growth import find_growth
from attnprof.analysis.series import Series, series_of
from attnprof.core.mac_parts import MacParts
from attnprof.core.workload import Workload
from attnprof.report.overview.laws import law_of
from attnprof.report.run import Run

PART_NAMES = {
    "projections": "projections",
    "output_projection": "output projection",
    "feed_forward": "feed-forward",
    "global_tokens": "global tokens",
    "context": "context",
    "scores": "scores",
}
"""The parts, from the bottom of a stack to its top: what grows with n², where it does, is above."""

_PER_OCTAVE = 4
_LONGEST_BETWEEN = 2**17
"""Lengths between those of the results, which make the curves smooth; above it there are none."""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The parts of one kernel's MACs.

    Attributes:
        label: of the kernel, with what of the pattern differs.
        parts: by length in tokens, ascending; also at lengths between those of the results.
        lengths: of the results, ascending.
        law: how the MACs grow, such as `n²`; empty where that is not known.
        takeover: the first length at which the n² term exceeds the n term; None without one.
        is_decoding: whether lengths are those of a context whose last tokens are decoded.
    """

    label: str
    parts: dict[int, MacParts]
    lengths: tuple[int, ...]
    law: str
    takeover: int | None
    is_decoding: bool = False


def breakdowns_of(runs: Sequence[Run]) -> tuple[list[Breakdown], list[str]]:
    """The parts of each built-in kernel, and the labels of the kernels whose parts are not known.

    Kernels with the same label in several runs have the same parts; they are shown once.
    """
    known: dict[str, Breakdown] = {}
    unknown: dict[str, None] = {}
    for member in (member for run in runs for member in series_of(run.table)):
        if not member.is_supported:
            continue
        if member.is_custom:
            unknown[member.label] = None
        else:
            known.setdefault(member.label, _breakdown(member))
    return list(known.values()), list(unknown)


def _breakdown(series: Series) -> Breakdown:
    lengths = tuple(row.workload.seq_len for row in series.rows)
    drawn = _between(lengths) if has_closed_form(series, "MACs") else lengths
    finding = find_growth(series)
    growth = finding.growth if finding else None
    return Breakdown(
        series.label,
        {n: _parts(series.rows[0].kernel, series.workload.at(n)) for n in drawn},
        lengths,
        law_of(finding) if finding else "",
        growth.quadratic_dominates_from if growth else None,
        series.workload.mode == "decode",
    )


def _parts(kernel: str, workload: Workload) -> MacParts:
    parts = kernels.mac_parts(kernel, workload)
    assert parts is not None
    return parts


def _between(lengths: Sequence[int]) -> list[int]:
    """The lengths, and others at equal ratios between the first and the last."""
    return sorted({*lengths, *_geometric(lengths[0], min(lengths[-1], _LONGEST_BETWEEN))})


def _geometric(first: int, last: int) -> Iterator[int]:
    step = 0
    while (length := round(first * 2 ** (step / _PER_OCTAVE))) < last:
        yield length
        step += 1
