"""Records on disk as they are taken, one JSON object a line, for a run that is cut off to go on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from attnprof.errors import MeasurementError, UsageError
from attnprof.files import replace_file
from attnprof.plan import Case
from attnprof.records import CASE, FAILURES, ROUNDS, Record, identity_of, record_line

SCHEMA = 1
_HEADER = "attnprof_journal"
_FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Key:
    """What records must have been taken under for them to stand for new ones.

    Attributes:
        machine: processor, threads, GPU and versions.
        sources: digests of the files that the user's own kernels are from.
    """

    machine: Mapping[str, object]
    sources: Mapping[str, str]

    def as_line(self) -> dict[str, object]:
        """The line that the records of a run stand under."""
        return {_HEADER: SCHEMA, "machine": self.machine, "sources": self.sources}

    def covers(self, header: Mapping[str, Any], kernel: str) -> bool:
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

    Raises:
        UsageError: when the file is something else, when another run writes it, or when it is
            that of an unfinished run and is not to be resumed.
    """

    def __init__(self, path: Path, key: Key, *, is_resumed: bool) -> None:
        self.path = path
        self._key = key
        self._lines = _read(path)
        if self._lines and not is_resumed and _FINISHED not in self._lines[-1]:
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
        self._pending = b""
        self._file: IO[bytes] | None = None
        self._append(key.as_line())
        self.flush()

    def earlier(self, cases: Iterable[Case], wanted: Sequence[str]) -> dict[Case, list[Record]]:
        """Records of these cases that need not be taken again.

        A case is finished when it failed, or when all that is wanted of it has been measured. Of
        another, what there is is kept, but its time, which is taken together with that of others.
        """
        by_identity: dict[str, dict[str, Mapping[str, Any]]] = {}
        header: Mapping[str, Any] = {}
        for line in self._lines:
            if _HEADER in line:
                header = line
            elif "quantity" in line and self._key.covers(header, line["kernel"]):
                by_identity.setdefault(_identity(line), {})[line["quantity"]] = line
        found: dict[Case, list[Record]] = {}
        for case in cases:
            identity = json.dumps(identity_of(case.kernel, case.workload))
            known = by_identity.get(identity, {})
            end = known.get(CASE)
            has_failed = end is not None and end["status"] in FAILURES
            is_finished = end is not None and end["status"] == "ok" and set(wanted) <= known.keys()
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

    def add(self, record: Record) -> None:
        """Keep a record, unless it was read here.

        Raises:
            MeasurementError: when it cannot be written now; it is written with the next one.
        """
        key = (json.dumps(identity_of(record.kernel, record.workload)), record.quantity)
        if key not in self._written:
            self._written.add(key)
            self._append(record_line(record))
        self.flush()

    def finish(self) -> None:
        """Write down that the run has come to its end."""
        self._append({_FINISHED: True})
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
        self._pending += f"{json.dumps(line, ensure_ascii=False)}\n".encode()

    def _open(self) -> IO[bytes]:
        """The file, locked; a half line at its end, of a run that was killed, is cut off."""
        if self.path.exists():
            file = _locked(self.path)
            if self._lines:
                content = file.read()
                file.truncate(content.rfind(b"\n") + 1)
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
    return quantity in (CASE, ROUNDS, "speedup") or quantity.startswith("time_")


def _identity(line: Mapping[str, Any]) -> str:
    beside = ("quantity", "value", "unit", "status", "detail")
    return json.dumps({name: value for name, value in line.items() if name not in beside})


def _read(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal; the last may be a half one.

    Raises:
        UsageError: when it is no journal, or a newer one.
    """
    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError("json", path, f"cannot be read ({error.strerror})") from error
    lines: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n")[:-1]):
        try:
            lines.append(json.loads(line))
        except ValueError:
            if number == 0:
                break
            raise UsageError(
                "json", path, f"line {number + 1} is damaged; remove the file"
            ) from None
    is_cut_off = not lines and text.startswith(f'{{"{_HEADER}"')
    if text and not is_cut_off and not (lines and _HEADER in lines[0]):
        raise UsageError(
            "json", path, "records are kept in this file, but it has something else; move it"
        )
    if lines and lines[0][_HEADER] != SCHEMA:
        raise UsageError("json", path, "is of another version of attnprof; move it")
    return lines
