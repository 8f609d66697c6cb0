"""Records of a run on disk as they are measured, so that an interrupted run can be resumed.

One JSON object on each line: a header with the machine, records, and `finished` at the end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from attnprof.core.errors import MeasurementError, UsageError
from attnprof.core.files import lock_exclusively, replace_file
from attnprof.core.record_lines import identity_of, record_line
from attnprof.core.records import CASE, FAILURES, WITHHELD, Record
from attnprof.core.units import counted
from attnprof.core.workload import Case
from attnprof.report.journal_format import (
    FINISHED,
    HEADER,
    SCHEMA,
    RunFingerprint,
    is_of_end,
    read_line,
)

_LOST_HEADER: dict[str, Any] = {HEADER: SCHEMA}
"""Takes the place of a damaged header; no record below it can be resumed."""


_MAX_NAMED_LINES = 5
"""Damaged lines that a message names."""


def journal_path(json_path: str) -> Path:
    """The journal of a run whose results go to `json_path`: the same path ending in `.jsonl`.

    Raises:
        UsageError: when `json_path` itself ends in `.jsonl`.
    """
    path = Path(json_path).with_suffix(".jsonl")
    if str(path) == json_path:
        raise UsageError(
            "json", json_path, "this name is reserved for the records of the run; use .json"
        )
    return path


class Journal:
    """The records of a run, each on disk as soon as it is measured.

    Args:
        path: of the file.
        key: the fingerprint of this run.
        is_resumed: whether to resume an earlier run.

    Attributes:
        path: of the file.
        damage: numbers of damaged lines, which are skipped, from 1.

    Raises:
        UsageError: when the file is something else, when another run is writing to it, or when it
            is that of an interrupted run and `is_resumed` is false.
    """

    def __init__(self, path: Path, key: RunFingerprint, *, is_resumed: bool) -> None:
        self.path = path
        self._key = key
        self._lines, self.damage, self._valid_bytes = read_lines(path)
        if self._lines and not is_resumed and FINISHED not in self._lines[-1]:
            count = sum(1 for line in self._lines if line.get("quantity") == CASE)
            raise UsageError(
                "json",
                path.with_suffix(".json"),
                f"{path} has {counted(count, 'row')} of an interrupted run; continue it with "
                "--resume, or delete the file",
            )
        if not is_resumed:
            self._lines = []
        self._written: set[tuple[str, str]] = set()
        self._earlier: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._group_of: dict[str, int] = {}
        self._open_cases: dict[int, set[str]] = {}
        self._held: dict[int, bytes] = {}
        self._pending = b""
        self._file: IO[bytes] | None = None
        self._append(key.as_line())
        self.flush()

    def resumable(
        self, groups: Sequence[Sequence[Case]], wanted: Sequence[str]
    ) -> dict[Case, list[Record]]:
        """Records of these cases that need not be measured again.

        A case is finished when it failed, or when all wanted quantities were measured and no
        verdict on its time was withheld. An unfinished case keeps its records except those of its
        time, which is measured together with the other cases of its group.

        Args:
            groups: the cases of this run, those that are timed together in one group.
            wanted: the quantities that this run measures.
        """
        by_identity = self._by_identity()
        resumed: dict[Case, list[Record]] = {}
        for group, case in ((index, case) for index, cases in enumerate(groups) for case in cases):
            identity = json.dumps(identity_of(case.kernel, case.workload))
            self._group_of[identity] = group
            lines = by_identity.get(identity, {})
            self._earlier |= {(identity, quantity): line for quantity, line in lines.items()}
            is_finished = _is_finished(lines, wanted)
            if not is_finished:
                self._open_cases.setdefault(group, set()).add(identity)
            records = [
                _record_of(case, quantity, line)
                for quantity, line in lines.items()
                if is_finished or not is_of_end(quantity)
            ]
            if records:
                resumed[case] = records
                self._written |= {(identity, record.quantity) for record in records}
        return resumed

    @property
    def damage_message(self) -> str:
        """Which lines were skipped, for the person who resumes the run; empty without any."""
        if not self.damage:
            return ""
        numbers = ", ".join(str(number) for number in self.damage[:_MAX_NAMED_LINES])
        if len(self.damage) > _MAX_NAMED_LINES:
            numbers += f" and {len(self.damage) - _MAX_NAMED_LINES} more"
        lines = "lines" if len(self.damage) > 1 else "line"
        return f"{self.path}: damaged {lines} {numbers} skipped; what is missing is measured again"

    def _by_identity(self) -> dict[str, dict[str, Mapping[str, Any]]]:
        """The last line of each quantity that may be reused, by case."""
        by_identity: dict[str, dict[str, Mapping[str, Any]]] = {}
        header: Mapping[str, Any] = {}
        for line in self._lines:
            if HEADER in line:
                header = line
            elif "quantity" in line and self._key.matches(header, line["kernel"]):
                by_identity.setdefault(identity_of_line(line), {})[line["quantity"]] = line
        return by_identity

    def add(self, record: Record) -> None:
        """Write a record, unless it was read from this journal.

        Times of one group are measured in the same rounds. They are written together, when the
        last case of the group is closed: if a run were killed between two of them, cases would
        lack their pairs when it is resumed.

        Raises:
            MeasurementError: when it cannot be written now; it is written with the next record.
        """
        identity = json.dumps(identity_of(record.kernel, record.workload))
        key = (identity, record.quantity)
        if key in self._written:
            return
        self._written.add(key)
        content = record_line(record)
        line = b"" if content == self._earlier.get(key) else _as_bytes(content)
        group = self._group_of.get(identity, -1)
        still_open = self._open_cases.get(group, set())
        if record.quantity == CASE:
            still_open.discard(identity)
        held = self._held.pop(group, b"")
        if still_open and (held or (is_of_end(record.quantity) and record.quantity != CASE)):
            self._held[group] = held + line
        else:
            self._pending += held + line
        self.flush()

    def finish(self) -> None:
        """Mark the run as finished."""
        self._pending += b"".join(self._held.values())
        self._held.clear()
        self._append({FINISHED: True})
        self.flush()

    def flush(self) -> None:
        """Write pending lines to disk.

        Raises:
            MeasurementError: when they cannot be written; they stay pending.
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
        """Close the file, which releases its lock."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _append(self, line: Mapping[str, object]) -> None:
        self._pending += _as_bytes(line)

    def _open(self) -> IO[bytes]:
        """The file, locked; an incomplete end, left by a killed run, is cut off."""
        if self.path.exists():
            file = _locked(self.path)
            if self._lines:
                file.truncate(self._valid_bytes)
                return file
            file.close()
        replace_file(self.path, b"")
        return _locked(self.path)


def _write(file: IO[bytes], content: bytes) -> None:
    """Write everything and wait until it is on disk."""
    while content:
        content = content[file.write(content) :]
    os.fsync(file.fileno())


def _locked(path: Path) -> IO[bytes]:
    """The file, unbuffered and locked against other runs.

    Raises:
        UsageError: when another run holds the lock.
    """
    file = path.open("r+b", buffering=0)
    try:
        lock_exclusively(file.fileno(), waits=False)
    except OSError as error:
        file.close()
        raise UsageError("json", path, "another run is writing to it") from error
    return file


def _is_finished(lines: Mapping[str, Mapping[str, Any]], wanted: Sequence[str]) -> bool:
    """Whether a case need not be measured again, from its lines by quantity."""
    end = lines.get(CASE)
    if end is None:
        return False
    if end["status"] in FAILURES:
        return True
    is_complete = end["status"] == "ok" and set(wanted) <= lines.keys()
    return is_complete and not lines.get(WITHHELD, {}).get("value")


def _record_of(case: Case, quantity: str, line: Mapping[str, Any]) -> Record:
    return Record(
        case.kernel, case.workload, quantity, line["value"], line["status"], line["detail"]
    )


def _as_bytes(line: Mapping[str, object]) -> bytes:
    return f"{json.dumps(line, ensure_ascii=False)}\n".encode()


def identity_of_line(line: Mapping[str, Any]) -> str:
    """The case of a record's line, as a key."""
    other = ("quantity", "value", "unit", "status", "detail")
    return json.dumps({name: value for name, value in line.items() if name not in other})


def read_lines(path: Path) -> tuple[list[dict[str, Any]], list[int], int]:
    """The lines of a journal, the numbers of damaged lines, and how many bytes to keep.

    What a killed run leaves incomplete is not damage but is cut off: a last line without its end,
    and times of cases that were not closed.

    Raises:
        UsageError: when it cannot be read, is not a journal, or is one of another version.
    """
    content = _content(path)
    lines: list[dict[str, Any]] = []
    damage: list[int] = []
    valid_bytes = valid_lines = end = 0
    for number, text in enumerate(content.split(b"\n")[:-1], 1):
        end += len(text) + 1
        line = read_line(text)
        if line is not None:
            lines.append(line)
        else:
            damage.append(number)
            # The machine of the records below is no longer known.
            if HEADER.encode() in text:
                lines.append(_LOST_HEADER)
        if _may_end_after(line):
            valid_bytes, valid_lines = end, len(lines)
    _check_is_journal(path, content, lines, damage)
    return lines[:valid_lines], damage, valid_bytes


def _content(path: Path) -> bytes:
    """The bytes of a file; empty where there is none."""
    if not path.exists():
        return b""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError("json", path, f"cannot be read ({error.strerror})") from error


def _may_end_after(line: Mapping[str, Any] | None) -> bool:
    """Whether a journal is complete after a line: any but a time of a case that is still open."""
    quantity = "" if line is None else line.get("quantity", "")
    return quantity == CASE or not is_of_end(quantity)


def _check_is_journal(
    path: Path, content: bytes, lines: Sequence[Mapping[str, Any]], damage: Sequence[int]
) -> None:
    """Refuse a file that is not a journal, and one of another version."""
    is_cut_off = not lines and not damage and content.startswith(f'{{"{HEADER}"'.encode())
    if content and not is_cut_off and not lines:
        raise UsageError(
            "json", path, "is needed for the records of the run, but has other content; move it"
        )
    headers = [line for line in lines if HEADER in line and line != _LOST_HEADER]
    if any(line[HEADER] != SCHEMA for line in headers):
        raise UsageError("json", path, "was written by another version of attnprof; move it")
