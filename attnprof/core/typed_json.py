"""Reads JSON into frozen dataclasses; an error names the path of the value that is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

_T = TypeVar("_T")
_MAX_NUMBER = 10**36
"""Larger than any measured number, and small enough to compute with as a float."""

_EXPECTED = {
    int: "a whole number, 0 or more",
    float: "a number, 0 or more",
    str: "a string",
    bool: "true or false",
}


class UnexpectedError(ValueError):
    """A JSON value is not what was expected; the message has its path and what would be valid."""


def parse_object(text: str) -> dict[str, Any]:
    """A JSON object from text.

    Raises:
        UnexpectedError: if the text is not valid JSON, or not an object.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnexpectedError("is not valid JSON") from error
    if not isinstance(value, dict):
        raise UnexpectedError("is not a JSON object")
    return cast("dict[str, Any]", value)


def read_as(kind: type[_T], value: object, path: str = "") -> _T:
    """A JSON value as an instance of a type; keys that the type does not have are ignored.

    Args:
        kind: a dataclass, `int`, `float`, `str`, `bool`, `Literal`, `X | None`, `tuple[X, ...]` or
            a mapping with string keys.
        value: as `json.loads` returns it. Numbers must be 0 or more, and at most 10^36.
        path: of the value, for messages.

    Raises:
        UnexpectedError: for the first value of another type.
    """
    return cast("_T", _read(kind, value, path))


def _read(kind: Any, value: Any, path: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is object:
        return value
    if origin in (UnionType, Union):
        return None if value is None else _read(_not_none(arguments), value, path)
    if origin is Literal:
        return _one_of(arguments, value, path)
    if origin is tuple:
        return _read_tuple(arguments[0], value, path)
    if origin in (dict, Mapping):
        return _read_mapping(arguments, _object(value, path), path)
    if is_dataclass(kind):
        return _read_dataclass(cast("type", kind), _object(value, path), path)
    return _scalar(kind, value, path)


def _not_none(members: tuple[Any, ...]) -> Any:
    """X of `X | None`."""
    (member,) = (member for member in members if member is not type(None))
    return member


def _read_tuple(kind: Any, value: object, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _unexpected(path, "a list")
    items = cast("list[object]", value)
    return tuple(_read(kind, item, f"{path}[{index}]") for index, item in enumerate(items))


def _read_mapping(kinds: tuple[Any, ...], value: Mapping[str, object], path: str) -> dict[Any, Any]:
    key_kind, item_kind = kinds
    return {
        _read(key_kind, key, path): _read(item_kind, item, _inside(path, key))
        for key, item in value.items()
    }


def _read_dataclass(kind: type, value: Mapping[str, object], path: str) -> object:
    types = get_type_hints(kind)
    arguments: dict[str, object] = {}
    for field in fields(kind):
        field_path = _inside(path, field.name)
        if field.name in value:
            arguments[field.name] = _read(types[field.name], value[field.name], field_path)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise UnexpectedError(f"{field_path} is missing")
    return kind(**arguments)


def _scalar(kind: type, value: object, path: str) -> object:
    allowed = (int, float) if kind is float else (kind,)
    if type(value) not in allowed:
        raise _unexpected(path, _EXPECTED[kind])
    if isinstance(value, int | float) and not 0 <= value <= _MAX_NUMBER:
        raise _unexpected(path, _EXPECTED[kind])
    return value


def _one_of(choices: tuple[object, ...], value: object, path: str) -> object:
    if not isinstance(value, str) or value not in choices:
        raise _unexpected(path, "one of " + ", ".join(map(str, choices)))
    return value


def _object(value: object, path: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _unexpected(path, "an object")
    return cast("dict[str, object]", value)


def _inside(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _unexpected(path: str, expected: str) -> UnexpectedError:
    return UnexpectedError(f"{path} is not {expected}")
