"""The number of threads and the CPU instructions that predictions assume."""

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
    """Within the context, predictions do not depend on the machine.

    They assume one thread and no optional CPU instructions.
    """
    _any_machine.append(True)
    try:
        with computing_with(threads=1):
            yield
    finally:
        _any_machine.pop()


def is_any_machine() -> bool:
    """Whether predictions must not depend on the machine now: inside `on_any_machine`."""
    return bool(_any_machine)


@contextmanager
def computing_with(threads: int) -> Generator[None]:
    """Within the context, predictions assume this many threads: those of a worker process."""
    _chosen_threads.append(threads)
    try:
        yield
    finally:
        _chosen_threads.pop()


def cpu_threads() -> int:
    """Threads that torch computes with: `torch.get_num_threads()` if loaded, else its default."""
    if _chosen_threads:
        return _chosen_threads[-1]
    torch = sys.modules.get("torch")
    return _default_threads() if torch is None else int(torch.get_num_threads())


@cache
def _default_threads() -> int:
    """The default of torch: `OMP_NUM_THREADS` if it is set, else the usable cores."""
    configured = os.environ.get("OMP_NUM_THREADS", "")
    if configured.isdecimal() and int(configured) > 0:
        return int(configured)
    return usable_cores()


def usable_cores() -> int:
    """Logical cores that this process may run on, according to its CPU affinity."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_instruction(name: str) -> bool:
    """Whether the CPU has a feature, such as `amx_bf16`; always false in `on_any_machine`.

    Args:
        name: as in the flags of /proc/cpuinfo.
    """
    return not is_any_machine() and name in _cpu_flags()


@cache
def _cpu_flags() -> frozenset[str]:
    """The CPU's feature flags from /proc/cpuinfo; empty where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())
