"""Reads how a user names what to cost; needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from attnprof.core.errors import UsageError
from attnprof.kernels.custom.inputs import InputSpec, parse_input

_OBJECT = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*(?:\.[^\W\d]\w*)*)")
_PART = "::"


@dataclass(frozen=True, slots=True)
class Reference:
    """A thing of the user's, as named.

    Attributes:
        name: the whole text.
        kind: an object in a Python module, or a model by its config.
        place: the module, or the path of the config or of its folder.
        inner: the name in the module, or the part of the model; empty for all of a model.
        inputs: what was said of its inputs.
    """

    name: str
    kind: Literal["python", "config"]
    place: str
    inner: str
    inputs: tuple[InputSpec, ...]


def is_reference(name: str) -> bool:
    """Whether a name is one of the user's own things, and no kernel's."""
    base, _ = _without_inputs(name)
    return ":" in base or "/" in base or base.endswith(".json") or Path(base).is_dir()


def parse_reference(name: str) -> Reference:
    """What a name refers to; that it exists is not checked.

    Raises:
        UsageError: for a name that is none.
    """
    base, _ = _without_inputs(name)
    inputs = inputs_of(name)
    _check_once(inputs, "kernel")
    path, has_part, part = base.partition(_PART)
    if has_part and not part:
        raise UsageError("kernel", name, f"name a part behind {_PART}")
    if has_part or path.endswith(".json") or Path(path).is_dir():
        return Reference(name, "config", path, part, inputs)
    match = _OBJECT.fullmatch(base)
    if match:
        return Reference(name, "python", match[1], match[2], inputs)
    if ":" in base:
        raise UsageError("kernel", name, "name a module and what is in it, as pkg.mod:Net")
    raise UsageError("kernel", name, "there is no such folder")


def inputs_of(name: str) -> tuple[InputSpec, ...]:
    """What a name says of its inputs.

    Raises:
        UsageError: for words that describe none.
    """
    return tuple(parse_input(word, "kernel") for word in _without_inputs(name)[1])


def with_inputs(name: str, words: Iterable[str]) -> str:
    """The name with further inputs, each as `NAME=DIMS`; said again, an input is replaced.

    Raises:
        UsageError: for a word that describes no input.
    """
    given = {parse_input(word, "input").name: word for word in words}
    base, own = _without_inputs(name)
    specs = {parse_input(word, "kernel").name: word for word in own} | given
    return f"{base}({';'.join(specs.values())})" if specs else base


def split_names(text: str) -> list[str]:
    """The names in a list with commas; those inside parentheses belong to a name."""
    return [name.strip() for name in re.split(r",(?![^()]*\))", text)]


def _without_inputs(name: str) -> tuple[str, list[str]]:
    """The name itself, and the descriptions in its parentheses."""
    if not name.endswith(")") or "(" not in name:
        return name, []
    base, _, described = name[:-1].partition("(")
    return base, described.split(";")


def _check_once(inputs: tuple[InputSpec, ...], argument: str) -> None:
    names = [spec.name for spec in inputs]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(argument, name, "is described twice")
