"""A project folder with contracts, and the guard's operations on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from attnprof.guard import check as guard_check
from attnprof.guard import update as guard_update
from attnprof.guard.check import Check
from attnprof.guard.config import Configuration, read_configuration
from attnprof.guard.contract import Contract
from attnprof.guard.lockfile import Entry, read_lock
from attnprof.guard.results import Result
from attnprof.guard.update import Update
from attnprof.isolation.workers import Workers

PLANTED = Path(__file__).parent


class Project:
    """A folder with an `attnprof.toml` and with modules that its contracts name."""

    def __init__(self, folder: Path, workers: Workers) -> None:
        self.folder = folder
        self.workers = workers
        self._changes = 0

    @property
    def lock(self) -> Path:
        return self.folder / "attnprof.lock.json"

    @property
    def configuration(self) -> Configuration:
        return read_configuration(self.folder / "attnprof.toml")

    def contracts(self, *names: str) -> list[Contract]:
        return self.configuration.chosen(names)

    def says(self, text: str) -> None:
        (self.folder / "attnprof.toml").write_text(text)

    def has(self, module: str, source: str) -> None:
        path = self.folder / f"{module}.py"
        path.write_text(source)
        # Python reuses a compiled file if the source has the same size and the same second.
        self._changes += 1
        os.utime(path, (self._changes, self._changes))

    def encoder(self, name: str) -> None:
        """Make `subject:build` an encoder of `planted`."""
        self.has(
            "subject",
            f"import sys\nsys.path.append({str(PLANTED)!r})\nimport planted\n\n\n"
            f"def build(seq_len):\n    return planted.build({name!r})\n",
        )

    def init(self) -> Update:
        return guard_update.init(self.configuration, self.contracts(), self.workers)

    def update(self, *names: str) -> Update:
        return guard_update.update(self.configuration, self.contracts(*names), self.workers)

    def check(self, *names: str, is_strict: bool = False) -> Check:
        return guard_check.check(
            self.configuration, self.contracts(*names), self.workers, is_strict=is_strict
        )

    def only(self, *names: str) -> Result:
        (result,) = self.check(*names).results
        return result

    def entries(self) -> dict[str, Entry]:
        entries = read_lock(self.lock)
        assert entries is not None
        return entries


def terms(result: Result) -> list[str]:
    return [breach.term for breach in result.breaches]


def contract(name: str, target: str, lengths: Sequence[int], *lines: str) -> str:
    parts = [f"[guard.{name}]", f'target = "{target}"', f"len = {list(lengths)}", *lines]
    return "\n".join(parts) + "\n"
