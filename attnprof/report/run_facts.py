"""Where and when a run was, in words; and names of several runs, by what tells them apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import cast

from attnprof.core.result_table import ResultTable
from attnprof.core.units import counted
from attnprof.core.workload import Workload
from attnprof.report.setting import describe_mode

_UNKNOWN_MACHINE = "unknown machine"
_SHAPE: tuple[Callable[[Workload], str], ...] = (
    lambda workload: workload.dtype,
    describe_mode,
    lambda workload: f"batch {workload.batch_size}",
    lambda workload: f"hidden {workload.hidden_size}",
)

ESTIMATE = "estimate"
"""Where nothing was measured."""


def describe_run(table: ResultTable) -> str:
    """The machine, the versions and the time of a run in one line."""
    machine = ESTIMATE
    if table.environment is not None:
        machine = describe_machine(table.environment, is_on_gpu=_is_on_gpu(table))
    return "; ".join(text for text in (machine, _time(table)) if text)


def describe_machine(known: Mapping[str, object], *, is_on_gpu: bool) -> str:
    """The device and the versions of packages: `AMD EPYC, 2 cores, 2 threads; torch 2.13.0`.

    Args:
        known: `ResultTable.environment`.
        is_on_gpu: whether the GPU is the device.
    """
    parts = [_device(known, is_on_gpu=is_on_gpu)]
    if not is_on_gpu:
        numbers = ((known.get(noun + "s"), noun) for noun in ("core", "thread"))
        parts += [counted(number, noun) for number, noun in numbers if isinstance(number, int)]
    versions = (f"{name} {version}" for name, version in _packages(known).items())
    return "; ".join(text for text in (", ".join(parts), ", ".join(versions)) if text)


def names_of(
    tables: Sequence[ResultTable], paths: Sequence[str], *, are_files: bool = False
) -> list[str]:
    """A name for each run: the first facts that tell all of them apart, else their files' names.

    Args:
        tables: one or several; one needs no name, and gets an empty one.
        paths: of their files.
        are_files: whether the names are those of the files in any case: of studies, whose settings
            have names of facts.
    """
    if len(tables) < 2:
        return ["" for _ in tables]
    names = ["" for _ in tables]
    for facts in () if are_files else _facts(tables):
        longer = [", ".join(filter(None, pair)) for pair in zip(names, facts, strict=True)]
        if len(set(longer)) > len(set(names)):
            names = longer
        if len(set(names)) == len(names) and all(names):
            return names
    files = [Path(path) for path in paths]
    for names in ([file.stem for file in files], [file.name for file in files], list(paths)):
        if len(set(names)) == len(names):
            return names
    return [f"{path} ({paths[: index + 1].count(path)})" for index, path in enumerate(paths)]


def _facts(tables: Sequence[ResultTable]) -> Iterator[list[str]]:
    """What may tell runs apart, the most telling first: a text for each; empty if unknown."""
    yield [
        ESTIMATE
        if table.environment is None
        else _device(table.environment, is_on_gpu=_is_on_gpu(table))
        for table in tables
    ]
    yield [_threads(table) for table in tables]
    for read in _SHAPE:
        yield [
            " and ".join(dict.fromkeys(read(row.workload) for row in table.rows))
            for table in tables
        ]
    versions = [_packages(table.environment or {}) for table in tables]
    for package in dict.fromkeys(name for known in versions for name in known):
        yield [f"{package} {known[package]}" if package in known else "" for known in versions]
    times = [_time(table) for table in tables]
    yield [time.partition(" ")[0] for time in times]
    yield times


def _is_on_gpu(table: ResultTable) -> bool:
    return any(row.workload.device == "cuda" for row in table.rows)


def _device(known: Mapping[str, object], *, is_on_gpu: bool) -> str:
    return str(known.get("gpu" if is_on_gpu else "processor") or _UNKNOWN_MACHINE)


def _threads(table: ResultTable) -> str:
    threads = (table.environment or {}).get("threads")
    if not isinstance(threads, int) or _is_on_gpu(table):
        return ""
    return counted(threads, "thread")


def _packages(known: Mapping[str, object]) -> Mapping[str, str]:
    return cast("Mapping[str, str]", known.get("packages", {}))


def _time(table: ResultTable) -> str:
    """When it ended, to the minute; empty where that is unknown."""
    if not table.finished_at:
        return ""
    return datetime.fromisoformat(table.finished_at).strftime("%Y-%m-%d %H:%M")
