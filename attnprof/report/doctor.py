"""The profile of a machine: facts, throughput, times of kernels, noise, suggestions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import cast

from rich.text import Text

from attnprof.analysis.noise import diagnose
from attnprof.core.machine import Machine
from attnprof.core.units import (
    counted,
    format_bytes,
    format_count,
    format_duration,
    format_macs,
    format_percent,
)
from attnprof.report.columns import EMPTY
from attnprof.report.text_table import TextRow, fit_table


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with a table or with sentences."""

    heading: str
    table: Text | None = None
    sentences: tuple[str, ...] = ()


def render_doctor(machine: Machine, width: int) -> list[Section]:
    """The sections that are not empty.

    Args:
        machine: the profile.
        width: of the tables, in characters.
    """
    sections = [
        Section("Machine", _facts(machine, width)),
        Section(f"Throughput on {machine.device}", _throughput(machine, width)),
    ]
    if machine.kernel_samples:
        sections.append(Section(_kernels_heading(machine), _kernels(machine, width)))
    if machine.noise:
        diagnosis = diagnose(machine.noise, machine.conditions)
        heading = f"Noise: {diagnosis.grade} (score {format_percent(diagnosis.score)})"
        sections.append(Section(heading, sentences=diagnosis.meaning))
        sections.append(Section("Suggestions", sentences=diagnosis.remedies))
    sections.append(Section("Background load", sentences=_background_load(machine)))
    sections.append(Section("Failed", sentences=_sentences_by_reason(machine.failures)))
    sections.append(Section("Skipped", sentences=_sentences_by_reason(machine.left_out)))
    return [section for section in sections if section.table or section.sentences]


def _facts(machine: Machine, width: int) -> Text:
    """Processor, cores, memory, BLAS, GPU, system and versions, as far as they are known."""
    known = machine.environment
    packages = cast("Mapping[str, str]", known.get("packages") or {})
    conditions = machine.conditions
    governor = conditions.governor if conditions else None
    threads = known.get("threads")
    facts = {
        "processor": _joined(known.get("processor"), known.get("cpu_capability")),
        "cores": _joined(
            _counted(known.get("cores"), "usable"),
            _counted(known.get("physical_cores"), "physical"),
            isinstance(threads, int) and counted(threads, "thread"),
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
    rows = [TextRow((f"  {name}", fact)) for name, fact in facts.items() if fact]
    return fit_table(("", ""), rows, width, prose=(1,))


def _throughput(machine: Machine, width: int) -> Text:
    rows = [
        TextRow((f"  {dtype} matmul", format_macs(rate, "Mac/s")))
        for dtype, rate in machine.rates.matmul_macs_per_s.items()
    ]
    copied = machine.rates.copy_bytes_per_s
    if copied is not None:
        rows.append(TextRow(("  copy (read + write)", f"{format_bytes(copied)}/s")))
    return fit_table(("", ""), rows, width)


def _kernels_heading(machine: Machine) -> str:
    sample = machine.kernel_samples[0]
    setting = "hidden 768, 12 heads, window 512, 1 global token"
    return f"Kernels: {sample.dtype}, {sample.mode}, {setting}"


def _kernels(machine: Machine, width: int) -> Text:
    """Times by length, and the throughput at the longest as a part of the matmul throughput."""
    samples = machine.kernel_samples
    lengths = sorted({kernel.sample.seq_len for kernel in samples})
    headings = (*(format_count(length) for length in lengths), "at longest", "of matmul\npeak")
    rows: list[TextRow] = []
    for kernel, group in groupby(samples, key=lambda kernel: kernel.kernel):
        by_length = {member.sample.seq_len: member for member in group}
        longest = by_length[max(by_length)]
        rate = round(longest.sample.executed_macs / longest.sample.time_ns * 1e9)
        peak = machine.rates.matmul_macs_per_s.get(longest.dtype)
        times = (
            format_duration(by_length[length].sample.time_ns) if length in by_length else EMPTY
            for length in lengths
        )
        part = format_percent(rate / peak) if peak else EMPTY
        rows.append(TextRow((f"  {kernel}", *times, format_macs(rate, "Mac/s"), part)))
    return fit_table(("  kernel", *headings), rows, width)


def _background_load(machine: Machine) -> tuple[str, ...]:
    """Which times other processes disturbed, and the remedy."""
    if not machine.disturbed:
        return ()
    names, used = _listed(machine.disturbed), max(machine.disturbed.values())
    cause = (
        f"other processes used up to {used:.1f} cores; close them and rerun attnprof doctor"
        if used >= 0.05
        else "threads waited for a core, though no other process was busy; rerun attnprof doctor"
    )
    return (f"{cause} to measure these again: {names}",)


def _sentences_by_reason(parts: Mapping[str, str]) -> tuple[str, ...]:
    """One line for each reason, with the parts that share it."""
    by_reason: dict[str, list[str]] = {}
    for part, reason in parts.items():
        by_reason.setdefault(reason, []).append(part)
    return tuple(f"{_listed(names)}: {reason}" for reason, names in by_reason.items())


def _listed(parts: Iterable[str]) -> str:
    """Parts in one line; kernels at the same length are grouped."""
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
