"""Which series is the fastest at each length, or executes the fewest MACs; ties included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from attnprof.analysis.series import Series, find_reference, of_one_machine
from attnprof.core.intervals import Interval
from attnprof.core.pattern import AttentionPattern
from attnprof.core.pattern_stack import AttentionStack
from attnprof.core.records import (
    PREDICTED_TIME,
    PREDICTED_TIME_HIGH,
    PREDICTED_TIME_LOW,
)
from attnprof.core.result_table import Row
from attnprof.core.verdict import MIN_DECIDABLE_DIFFERENCE
from attnprof.core.workload import Workload

Measure = Literal["time", "predicted time", "MACs"]

_LEAST = 1 + MIN_DECIDABLE_DIFFERENCE


@dataclass(frozen=True, slots=True)
class Contender:
    """A series at one length, and how good it is there.

    Attributes:
        label: the series.
        score: the larger, the better: the speed relative to the reference, or the inverse of a
            time, or the negative of MACs, which are exact.
    """

    label: str
    score: Interval


@dataclass(frozen=True, slots=True)
class FastestFinding:
    """The best at one length, of those with one shape.

    Attributes:
        seq_len: the length in tokens.
        measure: what was compared: measured times if there are any, then predicted ones, else MACs.
        contenders: all that were compared, best median first.
        reference: the label of the series that speeds are relative to; empty where scores are not
            speeds.
        withheld: whether times were measured, but disturbed so much that no verdict follows.
    """

    seq_len: int
    measure: Measure
    contenders: tuple[Contender, ...]
    reference: str = ""
    withheld: bool = False

    @property
    def best(self) -> tuple[str, ...]:
        """The labels of those than which none is better, best median first; empty if withheld."""
        if self.withheld:
            return ()
        least = max(contender.score.low for contender in self.contenders)
        return tuple(one.label for one in self.contenders if one.score.high >= least)


def find_fastest(series: Sequence[Series]) -> Iterator[FastestFinding]:
    """For each shape and length, the best by what was measured there, or else by MACs."""
    rows: dict[Workload, list[tuple[str, Row]]] = {}
    for member in series:
        for row in member.rows:
            if row.status != "unsupported":
                rows.setdefault(_shape_of(row.workload), []).append((member.label, row))
    reference = find_reference(series)
    kernel = reference.rows[0].kernel if reference else ""
    for workload, labelled in sorted(rows.items(), key=lambda item: item[0].seq_len):
        yield from _at(workload.seq_len, labelled, kernel)


def _shape_of(workload: Workload) -> Workload:
    """The shape alone: masks of one table may be causal or not, and are compared all the same."""
    layers = len(workload.layers)
    dense = AttentionPattern.dense(workload.num_heads)
    stack = dense if layers == 1 else AttentionStack(layers=(dense,) * layers)
    return replace(workload, pattern=stack)


def _at(seq_len: int, labelled: Sequence[tuple[str, Row]], kernel: str) -> Iterator[FastestFinding]:
    here = of_one_machine([row for _, row in labelled if "time_ns" in row.values])
    timed = [(label, row) for label, row in labelled if any(row is one for one in here)]
    calm = [(label, row) for label, row in timed if not row.withheld]
    if timed:
        references = [label for label, row in calm if row.kernel == kernel]
        # Speeds relative to two references cannot be compared with one another.
        reference = references[0] if len(references) == 1 else ""
        contenders = _by_speed(calm, kernel) if reference else _by_time(calm, "time_ns")
        yield FastestFinding(seq_len, "time", contenders, reference, withheld=not calm)
        return
    predicted = [(label, row) for label, row in labelled if PREDICTED_TIME in row.values]
    if predicted:
        yield FastestFinding(seq_len, "predicted time", _by_time(predicted, PREDICTED_TIME))
        return
    counted = [
        Contender(label, Interval(-macs, -macs, -macs))
        for label, row in labelled
        if (macs := row.integer("executed_macs")) and row.status == "ok"
    ]
    if counted:
        yield FastestFinding(seq_len, "MACs", _ordered(counted))


def _by_speed(labelled: Sequence[tuple[str, Row]], reference: str) -> tuple[Contender, ...]:
    """By ratios of paired rounds; those that were not timed beside the reference are left out."""
    contenders: list[Contender] = []
    for label, row in labelled:
        speed = row.speed_against(reference)
        if row.kernel == reference:
            # As in a verdict: what is within this of the reference's speed does not differ from it.
            contenders.append(Contender(label, Interval(1.0, 1 / _LEAST, _LEAST)))
        elif speed is not None:
            contenders.append(Contender(label, speed))
    return _ordered(contenders)


def _by_time(labelled: Sequence[tuple[str, Row]], quantity: str) -> tuple[Contender, ...]:
    ends = {
        "time_ns": ("time_low_ns", "time_high_ns"),
        PREDICTED_TIME: (PREDICTED_TIME_LOW, PREDICTED_TIME_HIGH),
    }[quantity]
    contenders: list[Contender] = []
    for label, row in labelled:
        time = row.values[quantity]
        low, high = (row.values.get(end, time) for end in ends)
        contenders.append(Contender(label, Interval(1 / time, 1 / high, 1 / low)))
    return _ordered(contenders)


def _ordered(contenders: Sequence[Contender]) -> tuple[Contender, ...]:
    return tuple(sorted(contenders, key=lambda one: -one.score.median))
