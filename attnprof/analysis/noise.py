"""What a machine's noise means for measured numbers, and what would make it less."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from attnprof.core.machine import BusyProcess, Conditions, Noise
from attnprof.core.units import format_count, format_percent

Grade = Literal["quiet", "usable", "noisy", "very noisy"]

QUIET = 0.02
"""A score up to here: some 6 rounds are enough for `NOISE_TARGET_HALF_WIDTH`."""
USABLE = 0.05
"""Up to here some 36 rounds are."""
NOISY = 0.15
"""Up to here some 320 rounds are; beyond it, more than a run has time for."""
SINGLE_WEIGHT = 0.5
"""Single times weigh half: what attnprof compares are pairs."""

NOISE_TARGET_HALF_WIDTH = 0.02
"""Half the width of the interval that rounds are counted for, as a part of the median."""

BUSY_PART = 0.1
"""Others that use more than this part of all cores are told."""
STOLEN_PART = 0.01
"""A hypervisor that takes more than this part of the time is told."""
OTHERS_CORES = 0.1
"""Others that kept fewer cores busy explain no waits: then threads wait for one another, which is
the call's own cost, as where there are more of them than cores."""
NEARLY_ALL = 0.8
MOST_NAMED = 3
WANDERING_GOVERNORS = ("conservative", "ondemand", "powersave", "schedutil")

_Z_99 = 2.576
_MEDIAN_ERROR = math.sqrt(math.pi / 2)
"""The standard error of a median, in that of a mean, of normal samples."""
_QUARTILE_RANGE = 1.349
"""The interquartile range of a normal distribution, in standard deviations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """How noisy a machine is, in words.

    Attributes:
        grade: one word for it.
        score: what the grade comes from: the spread of paired ratios, or half that of single times.
        meaning: what it does to numbers, a sentence each.
        remedies: what would help, of what was seen to disturb, a sentence each.
    """

    grade: Grade
    score: float
    meaning: tuple[str, ...]
    remedies: tuple[str, ...]


def diagnose(noise: Noise, conditions: Conditions | None) -> Diagnosis:
    """Grade the noise, say what it means, and what of the conditions explains it."""
    score = max(noise.paired_spread, SINGLE_WEIGHT * noise.single_spread)
    grade = _grade(score)
    found = () if conditions is None or grade == "quiet" else _remedies(conditions)
    if grade in ("noisy", "very noisy") and not found:
        found = ("nothing that was looked at explains it; longer budgets (--max-seconds) help",)
    return Diagnosis(grade=grade, score=score, meaning=_meaning(noise), remedies=found)


def rounds_needed(paired_spread: float, precision: float = NOISE_TARGET_HALF_WIDTH) -> int:
    """Rounds after which the 99 % interval of a ratio's median is ± the precision.

    By the normal approximation: the median of n ratios with standard deviation σ has a standard
    error of σ·√(π/2)/√n.
    """
    half_width_of_one = _Z_99 * _MEDIAN_ERROR * paired_spread / _QUARTILE_RANGE
    return max(1, math.ceil((half_width_of_one / precision) ** 2))


def describe_disturbance(
    seen: Conditions, busy: Sequence[BusyProcess] = (), *, tells_waits: bool = True
) -> tuple[str, str]:
    """What disturbed rounds, and what helps; a clause each."""
    others, stolen = seen.cores_used_by_others or 0.0, seen.stolen_share or 0.0
    if stolen > max(STOLEN_PART, others / seen.logical_cores):
        cause = f"the hypervisor took {format_percent(stolen)} of the time"
        return cause, "measure when its other guests are quiet"
    if others < OTHERS_CORES:
        cause = "threads waited for a core, and no other process is seen that kept it busy"
        return cause, "quieten the machine"
    cause = used_by_others(others, seen.logical_cores, busy)
    if not tells_waits:
        cause += " (this system does not tell how long threads wait for a core)"
    help_ = "close it" if _is_one(others, busy) else "close them"
    left = _cores_left(seen, others, busy)
    return cause, f"{help_}, or lower --threads to {left}" if 0 < left < seen.threads else help_


def used_by_others(cores: float, logical_cores: int, busy: Sequence[BusyProcess] = ()) -> str:
    """How many cores other processes kept busy, and which ones, where that is known."""
    used = f"used {cores:.1f} of {_cores(logical_cores)}"
    if _is_one(cores, busy):
        return f"another process, {_named(busy[0])}, {used}"
    most = [f"{_named(one)} {one.cores:.1f}" for one in busy[:MOST_NAMED]]
    return f"other processes {used}" + f" ({', '.join(most)})" * bool(most)


def _named(one: BusyProcess) -> str:
    return f"{one.name} (pid {one.pid})"


def _is_one(cores: float, busy: Sequence[BusyProcess]) -> bool:
    """Whether one process makes nearly all of the load."""
    return bool(busy) and busy[0].cores >= NEARLY_ALL * cores


def _cores_left(seen: Conditions, others: float, busy: Sequence[BusyProcess]) -> int:
    """Cores that others leave free: each of them would take whole ones, if nobody else did."""
    named = sum(max(1, round(one.cores)) for one in busy)
    wanted = max(named, round(others + 0.1))
    return int(min(seen.usable_cores, seen.quota_cores or seen.usable_cores)) - wanted


def _grade(score: float) -> Grade:
    if score <= QUIET:
        return "quiet"
    if score <= USABLE:
        return "usable"
    return "noisy" if score <= NOISY else "very noisy"


def _meaning(noise: Noise) -> tuple[str, ...]:
    rounds = format_count(rounds_needed(noise.paired_spread))
    singles = (
        f"single times: half of them lie in a band of {format_percent(noise.single_spread)}; one "
        f"in a hundred is {format_percent(noise.outlier_spread)} or more above the median"
    )
    pairs = (
        f"ratios of two times in a row: half of them lie in a band of "
        f"{format_percent(noise.paired_spread)}, so that some {rounds} rounds make a 99 % interval "
        f"of ±{100 * NOISE_TARGET_HALF_WIDTH:.0f} %"
    )
    return singles, pairs


def _remedies(seen: Conditions) -> tuple[str, ...]:
    """Most disturbing first, by what can be done about it."""
    found: list[str] = []
    others = seen.cores_used_by_others
    if others is not None and others > BUSY_PART * seen.logical_cores:
        found.append(
            f"{used_by_others(others, seen.logical_cores)}: stop them, or measure when they are "
            "done"
        )
    if seen.threads > seen.usable_cores:
        found.append(
            f"{seen.threads} threads on {_cores(seen.usable_cores)}: --threads {seen.usable_cores}"
        )
    elif seen.quota_cores is not None and seen.threads > seen.quota_cores:
        found.append(
            f"{seen.threads} threads where the container may use {_cores(seen.quota_cores)}: "
            f"--threads {max(1, int(seen.quota_cores))}, or a higher limit"
        )
    elif seen.physical_cores is not None and seen.threads > seen.physical_cores:
        found.append(
            f"{seen.threads} threads share {_cores(seen.physical_cores, 'physical ')}: "
            f"--threads {seen.physical_cores} may be steadier"
        )
    if seen.stolen_share is not None and seen.stolen_share > STOLEN_PART:
        found.append(
            f"the hypervisor took {format_percent(seen.stolen_share)} of the time: nothing to do "
            "here but longer budgets (--max-seconds)"
        )
    if seen.governor in WANDERING_GOVERNORS:
        found.append(
            f"the clock's governor is {seen.governor}, which lets it wander: "
            "sudo cpupower frequency-set -g performance"
        )
    if seen.on_battery:
        found.append("it runs on battery, which holds the clock back: plug it in")
    return tuple(found)


def _cores(count: float, kind: str = "") -> str:
    return f"{count:g} {kind}core{'' if count == 1 else 's'}"
