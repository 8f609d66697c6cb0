"""The page of a machine: facts, rates, times of kernels, noise, and what helps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import cast

from rich.table import Table

from attnprof.analysis.noise import diagnose
from attnprof.core.machine import Machine
from attnprof.core.units import (
    format_bytes,
    format_count,
    format_duration,
    format_macs,
    format_percent,
)

_EMPTY = "–"


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it: a table, or sentences."""

    heading: str
    table: Table | None = None
    sentences: tuple[str, ...] = ()


def render_doctor(machine: Machine) -> list[Section]:
    """The sections that there is something to say in."""
    sections = [
        Section("Machine", _facts(machine)),
        Section(f"Rates on {machine.device}", _rates(machine)),
    ]
    if machine.kernel_samples:
        sections.append(Section(_kernels_heading(machine), _kernels(machine)))
    if machine.noise:
        found = diagnose(machine.noise, machine.conditions)
        heading = f"Noise: {found.grade} (score {format_percent(found.score)})"
        sections.append(Section(heading, sentences=found.meaning))
        sections.append(Section("What helps", sentences=found.remedies))
    sections.append(Section("Disturbed", sentences=_disturbances(machine)))
    sections.append(Section("Failed", sentences=_sentences_by_reason(machine.failures)))
    sections.append(Section("Left out", sentences=_sentences_by_reason(machine.left_out)))
    return [section for section in sections if section.table or section.sentences]


def _facts(machine: Machine) -> Table:
    known = machine.environment
    table = Table(box=None, padding=(0, 0, 0, 2), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()  # wraps at words where a terminal is narrow
    packages = cast("Mapping[str, str]", known.get("packages") or {})
    conditions = machine.conditions
    governor = conditions.governor if conditions else None
    facts = {
        "processor": _joined(known.get("processor"), known.get("cpu_capability")),
        "cores": _joined(
            _counted(known.get("cores"), "usable"),
            _counted(known.get("physical_cores"), "physical"),
            _counted(known.get("threads"), "threads"),
            governor and f"governor {governor}",
        ),
        "memory": _joined(
            _sized(known.get("memory_bytes")),
            f"{format_bytes(machine.memory_bytes)} free on {machine.device}",
        ),
        "BLAS": _joined(known.get("blas")),
        "GPU": _joined(
            known.get("gpu") or "none",
            known.get("driver") and f"driver {known['driver']}",
            known.get("cuda") and f"CUDA {known['cuda']}",
        ),
        "system": _joined(known.get("system"), f"Python {known.get('python')}"),
        "versions": _joined(*(f"{name} {number}" for name, number in packages.items())),
    }
    for name, fact in facts.items():
        if fact:
            table.add_row(name, fact)
    return table


def _rates(machine: Machine) -> Table:
    table = _numbers("", "")
    table.show_header = False
    for dtype, rate in machine.rates.matmul_macs_per_s.items():
        table.add_row(f"{dtype} product", format_macs(rate, "Mac/s"))
    copied = machine.rates.copy_bytes_per_s
    if copied is not None:
        table.add_row("copy, read + written", f"{format_bytes(copied)}/s")
    return table


def _kernels_heading(machine: Machine) -> str:
    one = machine.kernel_samples[0]
    return f"Kernels: {one.dtype}, {one.mode}, 768 wide, 12 heads, window 512, 1 global token"


def _kernels(machine: Machine) -> Table:
    """Times by length, and what part of the plain product's rate the longest reaches."""
    samples = machine.kernel_samples
    lengths = sorted({one.sample.seq_len for one in samples})
    headings = (*(format_count(length) for length in lengths), "at the longest", "of product")
    table = _numbers("kernel", *headings)
    for kernel, group in groupby(samples, key=lambda one: one.kernel):
        by_length = {one.sample.seq_len: one for one in group}
        longest = by_length[max(by_length)]
        rate = round(longest.sample.executed_macs / longest.sample.time_ns * 1e9)
        product = machine.rates.matmul_macs_per_s.get(longest.dtype)
        table.add_row(
            kernel,
            *(
                format_duration(by_length[length].sample.time_ns) if length in by_length else _EMPTY
                for length in lengths
            ),
            format_macs(rate, "Mac/s"),
            format_percent(rate / product) if product else _EMPTY,
        )
    return table


def _numbers(*headings: str) -> Table:
    """Names to the left, numbers to the right, never cut."""
    table = Table(box=None, padding=(0, 0, 0, 2), header_style="dim")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left", no_wrap=True)
    return table


def _disturbances(machine: Machine) -> tuple[str, ...]:
    """What disturbed the times of kernels, and what to do about it."""
    if not machine.disturbed:
        return ()
    names, used = _listed(machine.disturbed), max(machine.disturbed.values())
    sentence = (
        f"other processes used up to {used:.1f} cores while these were timed; run attnprof doctor "
        f"again when they are done: {names}"
    )
    return (sentence,)


def _sentences_by_reason(parts: Mapping[str, str]) -> tuple[str, ...]:
    """One line for each part; parts that one reason holds for share it."""
    by_reason: dict[str, list[str]] = {}
    for part, reason in parts.items():
        by_reason.setdefault(reason, []).append(part)
    return tuple(f"{_listed(names)}: {reason}" for reason, names in by_reason.items())


def _listed(parts: Iterable[str]) -> str:
    """Parts in a row; kernels at one length share its name."""
    by_length: dict[str, list[str]] = {}
    for part in parts:
        kernel, _, length = part.partition(" at ")
        by_length.setdefault(length, []).append(kernel)
    return "; ".join(
        ", ".join(names) + (f" at {length}" if length else "")
        for length, names in by_length.items()
    )


def _joined(*parts: object) -> str:
    return ", ".join(str(part) for part in parts if part)


def _counted(count: object, noun: str) -> str:
    return f"{count} {noun}" if count else ""


def _sized(count: object) -> str:
    return format_bytes(count) if isinstance(count, int) else ""
