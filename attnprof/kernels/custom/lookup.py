"""Finds custom kernels by their references, in this process or in worker processes."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import cache
from typing import TypeGuard

from attnprof.core.errors import FailedError
from attnprof.isolation.workers import Workers
from attnprof.kernels.custom.config_file import check_file
from attnprof.kernels.custom.failed_import import FailedTarget
from attnprof.kernels.custom.objects import find_given, is_given
from attnprof.kernels.custom.proxy import TargetProxies, TargetProxy
from attnprof.kernels.custom.reference import parse_reference
from attnprof.kernels.custom.target import Target

CustomKernel = Target | TargetProxy | FailedTarget
"""A custom kernel: in this process, in a worker process, or one whose import failed."""

_proxies: list[TargetProxies] = []
"""The last of them finds custom kernels; without any, they are found in this process."""


@contextmanager
def custom_kernels_in(
    workers: Workers, max_seconds: float, *, shares_imports: bool = True
) -> Generator[TargetProxies]:
    """Run the methods of custom kernels in worker processes inside this context.

    Args:
        workers: make the processes.
        max_seconds: time limit of one reply.
        shares_imports: whether packages that one worker imports are imported for later ones too.
    """
    proxies = TargetProxies(workers, max_seconds, shares_imports=shares_imports)
    _proxies.append(proxies)
    try:
        yield proxies
    finally:
        _proxies.remove(proxies)
        proxies.close()


@contextmanager
def reply_deadline(seconds: float) -> Generator[None]:
    """Lower the time limit of a worker's reply to this many seconds inside this context."""
    if not _proxies:
        yield
        return
    proxies = _proxies[-1]
    before = proxies.max_seconds
    proxies.max_seconds = min(before, seconds)
    try:
        yield
    finally:
        proxies.max_seconds = before


def is_target(kernel: object) -> TypeGuard[CustomKernel]:
    """Whether a kernel is a custom one."""
    return isinstance(kernel, CustomKernel)


def is_python(name: str) -> bool:
    """Whether a reference names an object in a Python module, and not a config.

    Raises:
        UsageError: when the name is not a reference.
    """
    return parse_reference(name).kind == "python"


def check_files(names: Iterable[str]) -> None:
    """Refuse configs whose files cannot be read, before worker processes import transformers.

    Raises:
        UsageError: for the first of them.
    """
    for reference in map(parse_reference, names):
        if reference.kind == "config":
            check_file(reference)


def find(name: str) -> CustomKernel:
    """The custom kernel that a reference names; without worker processes, this loads torch.

    Raises:
        UsageError: when there is no such object or config, or it cannot be used.
    """
    if is_given(name):
        return find_given(name)
    if _proxies:
        return _proxies[-1].find(name)
    return _find_here(name, os.getcwd())  # noqa: PTH109 # references are relative to it


@cache
def _find_here(name: str, folder: str) -> Target | FailedTarget:
    """The kernel in this process, cached by the folder that the reference is relative to."""
    reference = parse_reference(name)
    if reference.kind == "config":
        from attnprof.kernels.custom.hf_config import ConfigTarget

        return ConfigTarget(reference)
    from attnprof.kernels.custom.python_object import PythonTarget

    try:
        return PythonTarget(reference)
    except FailedError as error:
        return FailedTarget(name, error)
