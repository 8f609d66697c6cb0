"""Reads JSON into frozen dataclasses: what is missing or of another type is named by its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

_T = TypeVar("_T")
_MOST = 10**36
"""No measured number is larger; what is cannot be computed with as a float."""

_WORDS = {
    int: "a whole number, 0 or more",
    float: "a number, 0 or more",
    str: "a text",
    bool: "true or false",
}


class UnexpectedError(ValueError):
    """Something else than was expected; the message is the place and what would be right."""


def parse_object(text: str) -> dict[str, Any]:
    """The object that a text is.

    Raises:
        UnexpectedError: when it is none.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnexpectedError("is no JSON") from error
    if not isinstance(value, dict):
        raise UnexpectedError("is no JSON object")
    return cast("dict[str, Any]", value)


def read_as(kind: type[_T], value: object, place: str = "") -> _T:
    """A value of JSON as what a type asks for; keys that it does not have are passed over.

    Takes dataclasses, `int`, `float`, `str`, `bool`, `Literal`, `X | None`, `tuple[X, ...]` and
    mappings with keys of text. Numbers are not negative, and of a size that can be
    measured.

    Raises:
        UnexpectedError: for the first value of another kind.
    """
    return cast("_T", _read(kind, value, place))


def _read(kind: Any, value: Any, place: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is object:
        return value
    if origin is UnionType:
        (inner,) = (one for one in arguments if one is not type(None))
        return None if value is None else _read(inner, value, place)
    if origin is Literal:
        return _one_of(arguments, value, place)
    if origin is tuple:
        if not isinstance(value, list):
            raise _unexpected(place, "a list")
        items = cast("list[object]", value)
        return tuple(_read(arguments[0], item, f"{place}[{i}]") for i, item in enumerate(items))
    if origin in (dict, Mapping):
        return {
            _read(arguments[0], key, place): _read(arguments[1], item, _inside(place, key))
            for key, item in _object(value, place).items()
        }
    if is_dataclass(kind):
        return _read_dataclass(cast("type", kind), _object(value, place), place)
    return _scalar(kind, value, place)


def _read_dataclass(kind: type, value: Mapping[str, object], place: str) -> object:
    types = get_type_hints(kind)
    arguments: dict[str, object] = {}
    for field in fields(kind):
        where = _inside(place, field.name)
        if field.name in value:
            arguments[field.name] = _read(types[field.name], value[field.name], where)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise UnexpectedError(f"{where} is missing")
    return kind(**arguments)


def _scalar(kind: type, value: object, place: str) -> object:
    allowed = (int, float) if kind is float else (kind,)
    if type(value) not in allowed:
        raise _unexpected(place, _WORDS[kind])
    if isinstance(value, int | float) and not 0 <= value <= _MOST:
        raise _unexpected(place, _WORDS[kind])
    return value


def _one_of(choices: tuple[object, ...], value: object, place: str) -> object:
    if not isinstance(value, str) or value not in choices:
        raise _unexpected(place, "one of " + ", ".join(map(str, choices)))
    return value


def _object(value: object, place: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _unexpected(place, "an object")
    return cast("dict[str, object]", value)


def _inside(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _unexpected(place: str, expected: str) -> UnexpectedError:
    return UnexpectedError(f"{place} is not {expected}")
