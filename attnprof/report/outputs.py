"""Files that results go to: checked before any work, replaced atomically, saved as rows come in."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypedDict, TypeVar

from attnprof.core.errors import NotSavedError, UsageError
from attnprof.core.files import is_special, replace_file
from attnprof.report.streams import is_stdout_closed

_T = TypeVar("_T")
Format = Literal["csv", "json", "markdown", "png"]
Renderer = Callable[[_T], str | bytes]
"""What a format's text or bytes are made from is the command's result."""

FORMATS: tuple[Format, ...] = ("csv", "json", "markdown", "png")
STDOUT = "-"
_MARGIN = 10
"""Bytes that the name of a file has more as long as it is being written."""

_NAMES_OF_STDOUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_NAMES_OF_STDIN = ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


class OutputOptions(TypedDict, total=False):
    """Where results go, by format: a path, or `-` for stdout."""

    csv: str | None
    json: str | None
    markdown: str | None
    png: str | None


@dataclass(slots=True)
class Outputs(Generic[_T]):
    """The files and streams that one command writes.

    Attributes:
        paths: by format, `-` for stdout.
        renderers: by format.
        written: the files that have what they were last to have.
    """

    paths: dict[Format, str]
    renderers: Mapping[Format, Renderer[_T]]
    written: list[str] = field(default_factory=list[str])

    @classmethod
    def read(cls, options: OutputOptions, renderers: Mapping[Format, Renderer[_T]]) -> Outputs[_T]:
        """The outputs that options name, each of them checked.

        Raises:
            UsageError: for a path that cannot be written, or that two formats share.
        """
        paths: dict[Format, str] = {}
        for form in FORMATS:
            path = options.get(form)
            if path == "":
                raise UsageError(form, "(nothing)", "name a file, or - for stdout")
            if path is not None:
                paths[form] = STDOUT if path in _NAMES_OF_STDOUT else path
        taken: dict[str, Format] = {}
        for form, path in paths.items():
            if path != STDOUT:
                _check_writable(form, Path(path))
            real = path if path == STDOUT else str(Path(path).resolve())
            if real in taken:
                raise UsageError(form, path, f"is what {taken[real]} is written to")
            taken[real] = form
            if path == STDOUT and is_stdout_closed():
                raise UsageError(form, path, "stdout is closed; name a file")
            if path == STDOUT and form == "png" and sys.stdout.isatty():
                raise UsageError(form, path, "a terminal shows no PNG; name a file")
        return cls(paths, renderers)

    @property
    def takes_stdout(self) -> bool:
        """Whether one of the formats goes to stdout, which then has nothing else on it."""
        return STDOUT in self.paths.values()

    def save_files(self, table: _T) -> None:
        """Save what can be replaced while rows come in: text, in files that are no device."""
        self._save_files(
            table,
            [
                form
                for form, path in self.paths.items()
                if form != "png" and not is_special(Path(path))
            ],
        )

    def save(self, table: _T) -> None:
        """Save all files, and write what goes to stdout.

        Raises:
            NotSavedError: for a file that can no longer be written, after all the others.
        """
        self._save_files(table, list(self.paths))
        for form, path in self.paths.items():
            if path == STDOUT:
                _write_stdout(self.renderers[form](table))

    def _files_of(self, forms: list[Format]) -> set[str]:
        return {self.paths[form] for form in forms} - {STDOUT}

    def _save_files(self, table: _T, forms: list[Format]) -> None:
        failures: list[str] = []
        self.written = [path for path in self.written if path not in self._files_of(forms)]
        for form in forms:
            path = self.paths[form]
            if path == STDOUT:
                continue
            content = self.renderers[form](table)
            try:
                replace_file(Path(path), content.encode() if isinstance(content, str) else content)
                self.written.append(path)
            except OSError as error:
                failures.append(f"--{form} {path}: could not be written ({error.strerror})")
        if failures:
            raise NotSavedError("; ".join(failures), table)


def _check_writable(form: Format, path: Path) -> None:
    """Refuse a path that nothing can be written to.

    Raises:
        UsageError: says why.
    """
    if str(path) in _NAMES_OF_STDIN:
        raise UsageError(form, path, "is what is read; name a file, or - for stdout")
    try:
        _try(form, path)
    except RuntimeError as error:  # what pathlib says of links that lead to themselves
        raise UsageError(form, path, "is a link that leads to itself; name a file") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(form, path, f"cannot be written ({reason}); name another file") from error


def _try(form: Format, path: Path) -> None:
    target = path.resolve()
    folder = target.parent
    if path.is_dir():
        raise UsageError(form, path, "is a folder; name a file")
    if not folder.is_dir():
        link = f"it is a link to {target}, and " if path.is_symlink() else ""
        raise UsageError(form, path, f"{link}there is no folder {folder if link else path.parent}")
    if path.exists() and not os.access(path, os.W_OK):
        raise UsageError(form, path, "is read-only")
    if is_special(path):
        return
    import tempfile

    try:
        # Replacing a file needs a new one beside it: whether that works is tried, not guessed.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            form, path, f"folder {path.parent} cannot be written ({error.strerror})"
        ) from error
    if len(os.fsencode(target.name)) + _MARGIN > os.pathconf(folder, "PC_NAME_MAX"):
        raise UsageError(form, path, "is too long a name; name a shorter one")


def _write_stdout(content: str | bytes) -> None:
    """Data is the same on stdout as in a file, whatever signs a terminal can show."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content.encode() if isinstance(content, str) else content)
    sys.stdout.buffer.flush()
