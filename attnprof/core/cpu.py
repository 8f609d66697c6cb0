"""Threads and instructions of the CPU that predictions assume."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_chosen_threads: list[int] = []
_any_machine: list[bool] = []


@contextmanager
def on_any_machine() -> Generator[None]:
    """What is predicted meanwhile is the same everywhere: one thread, no special instructions."""
    _any_machine.append(True)
    try:
        with computing_with(1):
            yield
    finally:
        _any_machine.pop()


def is_any_machine() -> bool:
    """Whether what is predicted now is to be the same everywhere."""
    return bool(_any_machine)


@contextmanager
def computing_with(threads: int) -> Generator[None]:
    """What is computed elsewhere with so many threads is predicted for so many meanwhile."""
    _chosen_threads.append(threads)
    try:
        yield
    finally:
        _chosen_threads.pop()


def cpu_threads() -> int:
    """Threads that torch computes with: torch's own word where it is loaded, else its default."""
    if _chosen_threads:
        return _chosen_threads[-1]
    torch = sys.modules.get("torch")
    return _default_threads() if torch is None else int(torch.get_num_threads())


@cache
def _default_threads() -> int:
    configured = os.environ.get("OMP_NUM_THREADS", "")
    if configured.isdecimal() and int(configured) > 0:
        return int(configured)
    return usable_cores()


def usable_cores() -> int:
    """Logical cores that this process may run on, by its affinity."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_instruction(name: str) -> bool:
    """Whether the CPU has an instruction, as the system names it; none `on_any_machine`."""
    return not is_any_machine() and name in _cpu_flags()


@cache
def _cpu_flags() -> frozenset[str]:
    """Names of the instructions that the CPU has, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())
