"""Costs at base revisions, kept in the repository's git folder: a base is measured once."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from attnprof.core.files import replace_file
from attnprof.core.typed_json import UnexpectedError, parse_object, read_as
from attnprof.guard.contract import Contract
from attnprof.guard.lockfile import Entry, check_entry
from attnprof.guard.revision_measurement import digests

MAX_FILES = 256
"""Costs of one contract at one base are a file; the oldest ones beyond these are removed."""

_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class BaseCosts:
    """What is known of a contract at the base.

    Attributes:
        entry: its costs; None if the base does not have the target.
        absent: why the base does not have it; empty if it has it.
        elsewhere: digests of imported files that are neither the revision's nor an installed
            package's, by path.
    """

    entry: Entry | None = None
    absent: str = ""
    elsewhere: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class _File:
    schema: int
    costs: BaseCosts


class BaseCache:
    """Costs by tree, contract and everything else that they depend on.

    A file that cannot be read is ignored, and said once.

    Args:
        folder: where the files are; None keeps nothing.
        say: called with a sentence about a file that cannot be used.
    """

    def __init__(self, folder: Path | None, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say

    def get(self, tree: str, folder: str, contract: Contract) -> BaseCosts | None:
        """The costs of a contract at a revision; None if they have to be measured.

        Args:
            tree: the id of the revision's content.
            folder: where the contract is measured, relative to the root.
            contract: what is measured.
        """
        if self._folder is None:
            return None
        path = self._path(tree, folder, contract)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError:
            return None
        except UnicodeDecodeError:
            return self._ignored(path)
        try:
            costs = read_as(_File, parse_object(text)).costs
            if costs.entry is not None:
                check_entry(contract.name, costs.entry)
        except (UnexpectedError, ValueError):
            return self._ignored(path)
        files = [Path(name) for name in costs.elsewhere]
        return costs if digests(files) == costs.elsewhere else None

    def put(self, tree: str, folder: str, contract: Contract, costs: BaseCosts) -> None:
        """Keep the costs of a contract at a revision."""
        if self._folder is None:
            return
        path = self._path(tree, folder, contract)
        content = json.dumps({"schema": _SCHEMA, "costs": asdict(costs)})
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            replace_file(path, content.encode())
        except OSError as error:
            self._say(f"{self._folder}: costs of the base are not kept: {error.strerror}")
            self._folder = None
            return
        self._remove_oldest()

    def _ignored(self, path: Path) -> None:
        self._say(f"{path}: is damaged; the base is measured again")

    def _path(self, tree: str, folder: str, contract: Contract) -> Path:
        assert self._folder is not None
        key = {"tree": tree, "folder": folder, "subject": contract.subject, **_environment()}
        text = json.dumps(key, sort_keys=True)
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:40]}.json"

    def _remove_oldest(self) -> None:
        assert self._folder is not None
        with suppress(OSError):
            files = sorted(self._folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
            for file in files[:-MAX_FILES]:
                file.unlink(missing_ok=True)


@cache
def _environment() -> Mapping[str, object]:
    """What counts depend on besides the project's own files."""
    from importlib.metadata import distributions

    packages = sorted({f"{each.name} {each.version}" for each in distributions()})
    return {
        "schema": _SCHEMA,
        "attnprof": _own_digest(),
        "packages": packages,
        "python": sys.version,
        "platform": [platform.system(), platform.machine()],
        "path": sys.path,
    }


def _own_digest() -> str:
    """SHA-256 of attnprof's own code."""
    folder = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
