"""What a user names instead of a kernel: an object in a Python module, or a Hugging Face config.

`pkg.mod:Net` is a module, a class of modules, or a function that makes one;
`checkpoint/config.json` and `checkpoint` are a model of transformers with random weights, and
`checkpoint::encoder.layer.0.attention` is a part of it. Behind any of them,
`(hidden_states=batch,len,hidden;ids=batch,len:int64<30522)` says what its inputs are. What is
named so can be counted and timed as the built-in kernels are.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import cache
from itertools import count
from typing import TypeGuard

from attnprof.core.errors import FailedError, UsageError
from attnprof.isolation.workers import Workers
from attnprof.kernels.custom.failed_import import FailedTarget
from attnprof.kernels.custom.import_path import importable_name
from attnprof.kernels.custom.proxy import TargetProxies, TargetProxy
from attnprof.kernels.custom.reference import is_reference, parse_reference, with_inputs
from attnprof.kernels.custom.target import Target

__all__ = [
    "CustomKernel",
    "TargetProxies",
    "custom_kernels_in",
    "find",
    "is_given",
    "is_python",
    "is_reference",
    "is_target",
    "name_of",
    "registered_object",
    "reply_deadline",
    "with_inputs",
]

CustomKernel = Target | TargetProxy | FailedTarget
"""A kernel of the user's own: here, in a process of its own, or one that could not be imported."""

_proxies: list[TargetProxies] = []
"""The last of them is where what is the user's own is asked; without any, it is asked here."""

_given: dict[str, object] = {}
"""Objects at hand, by the names that stand for them."""

_targets_of_given: dict[str, Target] = {}
"""What can be costed of them, by the same names with what is said of inputs."""


@contextmanager
def custom_kernels_in(
    workers: Workers, max_seconds: float, *, shares_imports: bool = True
) -> Generator[TargetProxies]:
    """What is the user's own is asked in processes of its own meanwhile.

    Args:
        workers: make the processes.
        max_seconds: for one answer.
        shares_imports: whether what one of them imports is imported for the others, too.
    """
    apart = TargetProxies(workers, max_seconds, shares_imports=shares_imports)
    _proxies.append(apart)
    try:
        yield apart
    finally:
        _proxies.remove(apart)
        apart.close()


@contextmanager
def reply_deadline(seconds: float) -> Generator[None]:
    """What is asked apart has no longer than this for an answer meanwhile."""
    if not _proxies:
        yield
        return
    apart = _proxies[-1]
    before = apart.max_seconds
    apart.max_seconds = min(before, seconds)
    try:
        yield
    finally:
        apart.max_seconds = before


@contextmanager
def registered_object(thing: object, inputs: Iterable[str]) -> Generator[str]:
    """A name that stands for a module, a class of modules or a function meanwhile.

    Args:
        thing: what `pkg.mod:name` could name.
        inputs: what is said of its inputs, each as `NAME=DIMS`.

    Raises:
        UsageError: when it is nothing of the kind.
    """
    base = _stand_for(thing)
    name = with_inputs(base, inputs)
    try:
        find(name)
        yield name
    finally:
        del _given[base]
        _targets_of_given.pop(name, None)


def name_of(thing: object) -> str:
    """What kernels find a module, a class of modules or a function by.

    That is `pkg.mod:name` where it can be imported so. Else a name stands for it from now on, in
    this process alone.

    Raises:
        UsageError: for what cannot be called.
    """
    if not callable(thing):
        word = f"{type(thing).__name__} {thing!r:.100}"
        raise UsageError("kernel", word, "a name, a module, a class of modules or a function")
    named = importable_name(thing)
    if named:
        return named
    known = (name for name, given in _given.items() if given is thing)
    return next(known, None) or _stand_for(thing)


def is_given(name: str) -> bool:
    """Whether a name stands for an object of this process."""
    return _base_of(name) in _given


def _stand_for(thing: object) -> str:
    word = getattr(thing, "__name__", type(thing).__name__)
    word = word if word.isidentifier() else "function"
    names = (f"given:{word}{number or ''}" for number in count())
    base = next(name for name in names if name not in _given)
    _given[base] = thing
    return base


def _base_of(name: str) -> str:
    return name.partition("(")[0]


def _find_given(name: str) -> Target:
    from attnprof.kernels.custom.python_object import PythonTarget

    if name not in _targets_of_given:
        thing = _given[_base_of(name)]
        _targets_of_given[name] = PythonTarget(parse_reference(name), thing)
    return _targets_of_given[name]


def is_target(kernel: object) -> TypeGuard[CustomKernel]:
    """Whether a kernel is the user's own."""
    return isinstance(kernel, CustomKernel)


def is_python(name: str) -> bool:
    """Whether a reference names an object in a Python module, and no config.

    Raises:
        UsageError: for a name that is none.
    """
    return parse_reference(name).kind == "python"


def find(name: str) -> CustomKernel:
    """What a reference names; where nothing is asked apart, torch is loaded for it.

    Raises:
        UsageError: when there is no such thing, or it cannot be used.
    """
    if is_given(name):
        return _find_given(name)
    if _proxies:
        return _proxies[-1].find(name)
    return _find(name, os.getcwd())  # noqa: PTH109 # references are relative to it


@cache
def _find(name: str, folder: str) -> Target | FailedTarget:
    reference = parse_reference(name)
    if reference.kind == "config":
        from attnprof.kernels.custom.hf_config import ConfigTarget

        return ConfigTarget(reference)
    from attnprof.kernels.custom.python_object import PythonTarget

    try:
        return PythonTarget(reference)
    except FailedError as error:
        return FailedTarget(name, error)
