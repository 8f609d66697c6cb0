"""What a machine's noise means for measured numbers, and how to reduce it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from attnprof.core.machine import BusyProcess, Conditions, Noise
from attnprof.core.units import counted, format_percent

Grade = Literal["quiet", "usable", "noisy", "very noisy"]

QUIET = 0.02
"""Up to this score about 6 rounds reach `NOISE_TARGET_HALF_WIDTH`."""

USABLE = 0.05
"""Up to this score about 36 rounds do."""

NOISY = 0.15
"""Up to this score about 320 rounds do; beyond it, more than a run has time for."""

SINGLE_WEIGHT = 0.5
"""Weight of single times in the score: attnprof compares paired times."""

NOISE_TARGET_HALF_WIDTH = 0.02
"""Half the width of the 99 % interval that rounds are counted for, as a part of the median."""

BUSY_PART = 0.1
"""Other processes are reported if they use more than this part of all cores."""

STOLEN_PART = 0.01
"""Steal time is reported if a hypervisor takes more than this part of the time."""

OTHERS_CORES = 0.1
"""Other processes that keep fewer cores busy do not explain waits: then threads of the call wait
for one another, as they do where there are more threads than cores, and that is its own cost."""

NEARLY_ALL = 0.8
"""A process with this part of the load of all others is named as the only one."""

MOST_NAMED = 3

WANDERING_GOVERNORS = ("conservative", "ondemand", "powersave", "schedutil")
"""CPU frequency governors that change the clock with the load."""

_Z_99 = 2.576
_MEDIAN_ERROR = math.sqrt(math.pi / 2)
"""The standard error of a median, in that of a mean, of normal samples."""
_QUARTILE_RANGE = 1.349
"""The interquartile range of a normal distribution, in standard deviations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """How noisy a machine is, in words.

    Attributes:
        grade: from `quiet` to `very noisy`.
        score: the larger of the spread of paired ratios and half the spread of single times.
        meaning: how the noise affects measured numbers, one sentence each.
        remedies: how to reduce it, one sentence for each cause that was observed.
    """

    grade: Grade
    score: float
    meaning: tuple[str, ...]
    remedies: tuple[str, ...]


def diagnose(noise: Noise, conditions: Conditions | None) -> Diagnosis:
    """Grade the noise, and name what it means and which of the conditions explain it."""
    score = max(noise.paired_spread, SINGLE_WEIGHT * noise.single_spread)
    grade = _grade(score)
    remedies = () if conditions is None or grade == "quiet" else _remedies(conditions)
    if grade in ("noisy", "very noisy") and not remedies:
        remedies = ("no cause found; raise --max-seconds to average the noise out",)
    return Diagnosis(grade=grade, score=score, meaning=_meaning(noise), remedies=remedies)


def rounds_needed(paired_spread: float, precision: float = NOISE_TARGET_HALF_WIDTH) -> int:
    """Rounds after which the 99 % interval of a ratio's median is at most ± the precision.

    By the normal approximation: the median of n ratios with standard deviation σ has a standard
    error of σ·√(π/2)/√n.
    """
    half_width = _Z_99 * _MEDIAN_ERROR * paired_spread / _QUARTILE_RANGE
    return max(1, math.ceil((half_width / precision) ** 2))


def describe_disturbance(
    seen: Conditions, busy: Sequence[BusyProcess] = (), *, reports_waits: bool = True
) -> tuple[str, str]:
    """What disturbed the rounds, and what to do about it, as two clauses.

    Args:
        seen: the conditions while the rounds ran.
        busy: other processes with the most CPU time, busiest first.
        reports_waits: whether the system reports how long threads wait for a core.
    """
    others, stolen = seen.cores_used_by_others or 0.0, seen.stolen_share or 0.0
    if stolen > max(STOLEN_PART, others / seen.logical_cores):
        cause = f"the hypervisor took {format_percent(stolen)} of the time"
        return cause, "measure when its other guests are idle"
    if others < OTHERS_CORES:
        cause = "threads waited for a core, but no other process was found using one"
        return cause, "reduce background load"
    cause = used_by_others(others, seen.logical_cores, busy)
    if not reports_waits:
        cause += " (this system does not report how long threads wait for a core)"
    remedy = "close it" if _is_single(others, busy) else "close them"
    left = _cores_left(seen, others, busy)
    return cause, f"{remedy}, or lower --threads to {left}" if 0 < left < seen.threads else remedy


def used_by_others(cores: float, logical_cores: int, busy: Sequence[BusyProcess] = ()) -> str:
    """How many cores other processes kept busy, and which processes, where that is known."""
    used = f"used {cores:.1f} of {_cores(logical_cores)}"
    if _is_single(cores, busy):
        return f"another process, {_named(busy[0])}, {used}"
    busiest = ", ".join(f"{_named(process)} {process.cores:.1f}" for process in busy[:MOST_NAMED])
    return f"other processes {used} ({busiest})" if busiest else f"other processes {used}"


def _named(process: BusyProcess) -> str:
    return f"{process.name} (pid {process.pid})"


def _is_single(cores: float, busy: Sequence[BusyProcess]) -> bool:
    """Whether one process makes nearly all of the load."""
    return bool(busy) and busy[0].cores >= NEARLY_ALL * cores


def _cores_left(seen: Conditions, others: float, busy: Sequence[BusyProcess]) -> int:
    """Cores left if each other process had whole ones, as it would without competition."""
    named = sum(max(1, round(process.cores)) for process in busy)
    wanted = max(named, round(others + 0.1))
    return int(min(seen.usable_cores, seen.quota_cores or seen.usable_cores)) - wanted


def _grade(score: float) -> Grade:
    if score <= QUIET:
        return "quiet"
    if score <= USABLE:
        return "usable"
    return "noisy" if score <= NOISY else "very noisy"


def _meaning(noise: Noise) -> tuple[str, ...]:
    rounds = counted(rounds_needed(noise.paired_spread), "round")
    singles = (
        f"single times: interquartile range {format_percent(noise.single_spread)}; 1 in 100 is at "
        f"least {format_percent(noise.outlier_spread)} above the median"
    )
    pairs = (
        "ratios of consecutive times: interquartile range "
        f"{format_percent(noise.paired_spread)}, so about {rounds} give a 99 % interval "
        f"of ±{100 * NOISE_TARGET_HALF_WIDTH:.0f} %"
    )
    return singles, pairs


def _remedies(seen: Conditions) -> tuple[str, ...]:
    """A sentence for each cause that was observed, those first that are easiest to remove."""
    remedies = (
        _remedy_for_others(seen),
        _remedy_for_threads(seen),
        _remedy_for_stolen_time(seen),
        _remedy_for_governor(seen),
        "runs on battery, which limits the clock: plug it in" if seen.on_battery else "",
    )
    return tuple(remedy for remedy in remedies if remedy)


def _remedy_for_others(seen: Conditions) -> str:
    others = seen.cores_used_by_others
    if others is None or others <= BUSY_PART * seen.logical_cores:
        return ""
    used = used_by_others(others, seen.logical_cores)
    return f"{used}: close them, or measure after they have finished"


def _remedy_for_threads(seen: Conditions) -> str:
    threads = seen.threads
    if threads > seen.usable_cores:
        return (
            f"{threads} threads on {_cores(seen.usable_cores)}: use --threads {seen.usable_cores}"
        )
    if seen.quota_cores is not None and threads > seen.quota_cores:
        return (
            f"{counted(threads, 'thread')}, but the container may use "
            f"{_cores(seen.quota_cores)}: use --threads {max(1, int(seen.quota_cores))}, "
            "or raise the limit"
        )
    if seen.physical_cores is not None and threads > seen.physical_cores:
        return (
            f"{threads} threads share {_cores(seen.physical_cores, 'physical ')}: "
            f"--threads {seen.physical_cores} may be steadier"
        )
    return ""


def _remedy_for_stolen_time(seen: Conditions) -> str:
    if seen.stolen_share is None or seen.stolen_share <= STOLEN_PART:
        return ""
    return (
        f"the hypervisor took {format_percent(seen.stolen_share)} of the time: raise "
        "--max-seconds; nothing else helps on this machine"
    )


def _remedy_for_governor(seen: Conditions) -> str:
    if seen.governor not in WANDERING_GOVERNORS:
        return ""
    return (
        f"the CPU frequency governor is {seen.governor}, so the clock varies: run "
        "sudo cpupower frequency-set -g performance"
    )


def _cores(count: float, kind: str = "") -> str:
    return f"{count:g} {kind}core{'' if count == 1 else 's'}"
