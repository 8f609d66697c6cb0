"""The contracts of a base revision: which ones the head has not any more, and what they allowed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, cast

from attnprof.guard.config import tables_in
from attnprof.guard.contract import ConfigurationError
from attnprof.guard.revisions import Repository, Revision


def tables_at(
    repository: Repository, revision: Revision, paths: Iterable[PurePosixPath]
) -> dict[str, Mapping[str, Any]]:
    """The tables of contracts in files of a revision, by name.

    Args:
        repository: has the revision.
        revision: which one.
        paths: of the files, relative to the root; those that it does not have are left out.

    Raises:
        ConfigurationError: when a file is not valid.
    """
    tables: dict[str, Mapping[str, Any]] = {}
    for path in paths:
        text = repository.text(revision, path)
        if text is None:
            continue
        try:
            found = tables_in(Path(path.name), text)
        except ConfigurationError as error:
            raise ConfigurationError(f"{revision.name}: {error}") from error
        tables |= {name: table for name, table in found.items() if isinstance(table, dict)}
    return tables


def changed_terms(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What a contract says now in place of what it said; empty if it says the same."""
    old, new = dict(_flat(before)), dict(_flat(after))
    changed = [
        f"{key} was {_shown(old, key)}, is {_shown(new, key)}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]
    return "; ".join(changed)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(cast("dict[str, Any]", value), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(terms: Mapping[str, object], key: str) -> str:
    return str(terms[key]) if key in terms else "not set"
