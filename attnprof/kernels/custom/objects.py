"""Objects that are passed from Python instead of a reference, and the names they are found by."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from itertools import count

from attnprof.core.errors import UsageError
from attnprof.kernels.custom.import_path import importable_name
from attnprof.kernels.custom.reference import parse_reference, with_inputs
from attnprof.kernels.custom.target import Target

_objects: dict[str, object] = {}
"""Objects by their names, inputs left out."""

_targets: dict[str, Target] = {}
"""Their kernels, by their names with descriptions of inputs."""


@contextmanager
def registered_object(thing: object, inputs: Iterable[str]) -> Generator[str]:
    """A name by which kernels find an object inside this context.

    Args:
        thing: a module, a module class or a function, as `pkg.mod:name` could name.
        inputs: descriptions of its inputs, each as `NAME=DIMS`.

    Raises:
        UsageError: when it is something else.
    """
    base = _register(thing)
    name = with_inputs(base, inputs)
    try:
        find_given(name)
        yield name
    finally:
        del _objects[base]
        _targets.pop(name, None)


def name_of(thing: object) -> str:
    """The name by which kernels find a module, a module class or a function.

    That is `pkg.mod:name` where it can be imported so. Otherwise it is registered under a name that
    is valid in this process only.

    Raises:
        UsageError: when it is not callable.
    """
    if not callable(thing):
        value = f"{type(thing).__name__} {thing!r:.100}"
        raise UsageError("kernel", value, "must be a name, a module, a module class or a function")
    import_name = importable_name(thing)
    if import_name:
        return import_name
    registered = (name for name, known in _objects.items() if known is thing)
    return next(registered, None) or _register(thing)


def is_given(name: str) -> bool:
    """Whether a name is that of a registered object of this process."""
    return _base_of(name) in _objects


def find_given(name: str) -> Target:
    """The kernel of a registered object.

    Raises:
        UsageError: when it cannot be used as one.
    """
    from attnprof.kernels.custom.python_object import PythonTarget

    if name not in _targets:
        _targets[name] = PythonTarget(parse_reference(name), _objects[_base_of(name)])
    return _targets[name]


def _register(thing: object) -> str:
    """Register an object under a new name, such as `given:Net`."""
    word = getattr(thing, "__name__", type(thing).__name__)
    word = word if word.isidentifier() else "function"
    names = (f"given:{word}{number or ''}" for number in count())
    base = next(name for name in names if name not in _objects)
    _objects[base] = thing
    return base


def _base_of(name: str) -> str:
    """The name without its description of inputs."""
    return name.partition("(")[0]
