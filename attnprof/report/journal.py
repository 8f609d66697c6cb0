"""Records on disk as they are taken, one JSON object a line, for a run that is cut off to go on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from attnprof.core.errors import MeasurementError, UsageError
from attnprof.core.files import replace_file
from attnprof.core.records import CASE, FAILURES, ROUNDS, WITHHELD, Record
from attnprof.core.result_table import identity_of, record_line
from attnprof.core.workload import Case
from attnprof.report.journal_format import FINISHED, HEADER, SCHEMA, read_line

_LOST_HEADER: dict[str, Any] = {HEADER: SCHEMA}
"""Stands for one that is damaged: it covers nothing."""


_MOST_TOLD = 5
"""Damaged lines that are named."""


@dataclass(frozen=True, slots=True)
class RunFingerprint:
    """What records must have been taken under for them to stand for new ones.

    Attributes:
        machine: processor, threads, GPU and versions.
        sources: digests of the files that the user's own kernels are from.
    """

    machine: Mapping[str, object]
    sources: Mapping[str, str]

    def as_line(self) -> dict[str, object]:
        """The line that the records of a run stand under."""
        return {HEADER: SCHEMA, "machine": self.machine, "sources": self.sources}

    def matches(self, header: Mapping[str, Any], kernel: str) -> bool:
        """Whether a kernel's records under such a line may stand for new ones."""
        sources: Mapping[str, str] = header.get("sources", {})
        is_same_source = sources.get(kernel) == self.sources.get(kernel)
        return header.get("machine") == self.machine and is_same_source


def journal_path(json_path: str) -> Path:
    """Where the records of a run lie whose results go to that file: beside it, as `.jsonl`.

    Raises:
        UsageError: when the results' own file has that name.
    """
    path = Path(json_path).with_suffix(".jsonl")
    if str(path) == json_path:
        raise UsageError("json", json_path, "records are kept under this name; name it .json")
    return path


class Journal:
    """The records of a run, each on the disk as soon as it is taken.

    Args:
        path: of the file.
        key: what this run takes its records under.
        is_resumed: whether an earlier run goes on.

    Attributes:
        path: of the file.
        damage: numbers of lines that are damaged and skipped, from 1.

    Raises:
        UsageError: when the file is something else, when another run writes it, or when it is
            that of an unfinished run and is not to be resumed.
    """

    def __init__(self, path: Path, key: RunFingerprint, *, is_resumed: bool) -> None:
        self.path = path
        self._key = key
        self._lines, self.damage, self._whole_bytes = _read(path)
        if self._lines and not is_resumed and FINISHED not in self._lines[-1]:
            count = sum(1 for line in self._lines if line.get("quantity") == CASE)
            raise UsageError(
                "json",
                path.with_suffix(".json"),
                f"{path} beside it has {count} rows of a run that was cut off; go on with "
                "--resume, or remove it",
            )
        if not is_resumed:
            self._lines = []
        self._written: set[tuple[str, str]] = set()
        self._earlier: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._open_cases: dict[int, set[str]] = {}
        self._held = self._pending = b""
        self._file: IO[bytes] | None = None
        self._append(key.as_line())
        self.flush()

    def resumable(self, cases: Iterable[Case], wanted: Sequence[str]) -> dict[Case, list[Record]]:
        """Records of these cases that need not be taken again.

        A case is finished when it failed, or when all that is wanted of it has been measured. Of
        another, what there is is kept, but its time, which is taken together with that of others.
        Where verdicts on times were withheld, these are taken again.
        """
        by_identity = self._by_identity()
        found: dict[Case, list[Record]] = {}
        for case in cases:
            identity = json.dumps(identity_of(case.kernel, case.workload))
            known = by_identity.get(identity, {})
            self._earlier |= {(identity, quantity): line for quantity, line in known.items()}
            end = known.get(CASE)
            has_failed = end is not None and end["status"] in FAILURES
            is_whole = end is not None and end["status"] == "ok" and set(wanted) <= known.keys()
            is_finished = is_whole and not known.get(WITHHELD, {}).get("value")
            if not has_failed and not is_finished:
                self._open_cases.setdefault(case.workload.seq_len, set()).add(identity)
            records = [
                Record(
                    case.kernel,
                    case.workload,
                    quantity,
                    line["value"],
                    line["status"],
                    line["detail"],
                )
                for quantity, line in known.items()
                if has_failed or is_finished or not _is_of_end(quantity)
            ]
            if records:
                found[case] = records
                self._written |= {(identity, record.quantity) for record in records}
        return found

    @property
    def damage_message(self) -> str:
        """Which lines were skipped, for whoever goes on with the run; empty without any."""
        if not self.damage:
            return ""
        numbers = ", ".join(str(number) for number in self.damage[:_MOST_TOLD])
        more = f" and {len(self.damage) - _MOST_TOLD} more" * (len(self.damage) > _MOST_TOLD)
        lines, they = ("lines", "they") if len(self.damage) > 1 else ("line", "it")
        skipped = f"damaged {lines} {numbers}{more} skipped"
        return f"{self.path}: {skipped}; what {they} had is taken again"

    def _by_identity(self) -> dict[str, dict[str, Mapping[str, Any]]]:
        """The last line of each quantity, by case, of those that may stand for new ones."""
        by_identity: dict[str, dict[str, Mapping[str, Any]]] = {}
        header: Mapping[str, Any] = {}
        for line in self._lines:
            if HEADER in line:
                header = line
            elif "quantity" in line and self._key.matches(header, line["kernel"]):
                by_identity.setdefault(_identity(line), {})[line["quantity"]] = line
        return by_identity

    def add(self, record: Record) -> None:
        """Keep a record, unless it was read here.

        Times of one length are taken in the same rounds. They come to the disk together, when the
        last case of that length is closed: a run that is killed between two of them would find
        cases without their pairs.

        Raises:
            MeasurementError: when it cannot be written now; it is written with the next one.
        """
        identity = json.dumps(identity_of(record.kernel, record.workload))
        key = (identity, record.quantity)
        if key in self._written:
            return
        self._written.add(key)
        content = record_line(record)
        line = b"" if content == self._earlier.get(key) else _as_bytes(content)
        still_open = self._open_cases.get(record.workload.seq_len, set())
        if record.quantity == CASE:
            still_open.discard(identity)
        if still_open and (self._held or (_is_of_end(record.quantity) and record.quantity != CASE)):
            self._held += line
        else:
            self._pending, self._held = self._pending + self._held + line, b""
        self.flush()

    def finish(self) -> None:
        """Write down that the run has come to its end."""
        self._pending, self._held = self._pending + self._held, b""
        self._append({FINISHED: True})
        self.flush()

    def flush(self) -> None:
        """Bring to the disk what is not there yet.

        Raises:
            MeasurementError: when that cannot be done.
        """
        if not self._pending:
            return
        try:
            if self._file is None:
                self._file = self._open()
            end = self._file.seek(0, os.SEEK_END)
            try:
                _write(self._file, self._pending)
            except OSError:
                self._file.truncate(end)
                raise
        except OSError as error:
            reason = error.strerror or str(error)
            raise MeasurementError(f"{self.path} could not be written ({reason})") from error
        self._pending = b""

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _append(self, line: Mapping[str, object]) -> None:
        self._pending += _as_bytes(line)

    def _open(self) -> IO[bytes]:
        """The file, locked; what is half at its end, of a run that was killed, is cut off."""
        if self.path.exists():
            file = _locked(self.path)
            if self._lines:
                file.truncate(self._whole_bytes)
                return file
            file.close()
        replace_file(self.path, b"")
        return _locked(self.path)


def _write(file: IO[bytes], content: bytes) -> None:
    """All of it, to the disk."""
    while content:
        content = content[file.write(content) :]
    os.fsync(file.fileno())


def _locked(path: Path) -> IO[bytes]:
    """The file, unbuffered, that no other run writes.

    Raises:
        UsageError: when one does.
    """
    file = path.open("r+b", buffering=0)
    try:
        import fcntl
    except ImportError:  # there is no such lock here
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise UsageError("json", path, "another run is writing it") from error
    return file


def _is_of_end(quantity: str) -> bool:
    """Whether a record comes with the end of its case."""
    return quantity in (CASE, ROUNDS, WITHHELD, "speedup") or quantity.startswith("time_")


def _as_bytes(line: Mapping[str, object]) -> bytes:
    return f"{json.dumps(line, ensure_ascii=False)}\n".encode()


def _identity(line: Mapping[str, Any]) -> str:
    beside = ("quantity", "value", "unit", "status", "detail")
    return json.dumps({name: value for name, value in line.items() if name not in beside})


def _read(path: Path) -> tuple[list[dict[str, Any]], list[int], int]:
    """The lines of a journal, the numbers of damaged ones, and up to where it is whole.

    What a run that was killed left half is no damage: a last line without its end, and times
    without the end of their case.

    Raises:
        UsageError: when it is no journal, or a newer one.
    """
    if not path.exists():
        return [], [], 0
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError("json", path, f"cannot be read ({error.strerror})") from error
    lines: list[dict[str, Any]] = []
    damage: list[int] = []
    whole_bytes = whole_lines = end = 0
    for number, text in enumerate(content.split(b"\n")[:-1], 1):
        end += len(text) + 1
        line = read_line(text)
        if line is None:
            damage.append(number)
            # Under whose machine the records below were taken is no longer known.
            lines += [_LOST_HEADER] * (HEADER.encode() in text)
        else:
            lines.append(line)
        quantity = "" if line is None else line.get("quantity", "")
        if quantity == CASE or not _is_of_end(quantity):
            whole_bytes, whole_lines = end, len(lines)
    headers = [line for line in lines if HEADER in line and line != _LOST_HEADER]
    is_cut_off = not lines and not damage and content.startswith(f'{{"{HEADER}"'.encode())
    if content and not is_cut_off and not lines:
        raise UsageError(
            "json", path, "records are kept in this file, but it has something else; move it"
        )
    if any(line[HEADER] != SCHEMA for line in headers):
        raise UsageError("json", path, "is of another version of attnprof; move it")
    return lines[:whole_lines], damage, whole_bytes
