"""Output files: checked before any work, replaced atomically, saved while rows come in."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypedDict, TypeVar

from attnprof.core.errors import NotSavedError, UsageError
from attnprof.core.files import is_special, replace_file
from attnprof.core.option_values import EMPTY_VALUE
from attnprof.report.streams import is_stdout_closed

_T = TypeVar("_T")
Format = Literal["csv", "json", "markdown", "png", "svg", "html"]
Renderer = Callable[[_T], str | bytes]
"""From the result of a command to the text or bytes of a format."""

FORMATS: tuple[Format, ...] = ("csv", "json", "markdown", "png", "svg", "html")
STDOUT = "-"

_SAVED_AT_THE_END: tuple[Format, ...] = ("png", "svg", "html")
"""What takes too long to be saved with each row, and shows nothing before there are several."""

_SUFFIX_BYTES = 10
"""Bytes by which the name of a file is longer while it is being written."""

_NAMES_OF_STDOUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_NAMES_OF_STDIN = ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


class OutputOptions(TypedDict, total=False):
    """Where results go, by format: a path, or `-` for stdout."""

    csv: str | None
    json: str | None
    markdown: str | None
    png: str | None
    svg: str | None
    html: str | None


@dataclass(slots=True)
class Outputs(Generic[_T]):
    """The files and streams that one command writes.

    Attributes:
        paths: by format, `-` for stdout.
        renderers: by format.
        written: the files whose last write succeeded.
    """

    paths: dict[Format, str]
    renderers: Mapping[Format, Renderer[_T]]
    written: list[str] = field(default_factory=list[str])

    @classmethod
    def read(cls, options: OutputOptions, renderers: Mapping[Format, Renderer[_T]]) -> Outputs[_T]:
        """The outputs that options name, each of them checked.

        Args:
            options: paths by format.
            renderers: by format.

        Raises:
            UsageError: for a path that cannot be written, or that two formats share.
        """
        paths: dict[Format, str] = {}
        for form in FORMATS:
            path = options.get(form)
            if path == "":
                raise UsageError(form, EMPTY_VALUE, "name a file, or - for stdout")
            if path is not None:
                paths[form] = STDOUT if path in _NAMES_OF_STDOUT else path
        formats: dict[str, Format] = {}
        for form, path in paths.items():
            if path != STDOUT:
                _check_writable(form, Path(path))
            target = path if path == STDOUT else str(Path(path).resolve())
            if target in formats:
                raise UsageError(form, path, f"already used by --{formats[target]}")
            formats[target] = form
            if path == STDOUT:
                _check_stdout(form)
        return cls(paths, renderers)

    def check_keeps(self, kept: Sequence[str | Path], content: str) -> None:
        """Refuse to replace files that the command needs.

        Args:
            kept: paths of these files.
            content: what they have, such as `has the results to show`.

        Raises:
            UsageError: names the first output that is one of them.
        """
        resolved = {Path(path).resolve() for path in kept}
        for form, path in self.paths.items():
            if path != STDOUT and Path(path).resolve() in resolved:
                raise UsageError(form, path, f"{content}; name another file")

    @property
    def takes_stdout(self) -> bool:
        """Whether a format goes to stdout, which then gets nothing else."""
        return STDOUT in self.paths.values()

    def save_files(self, table: _T) -> None:
        """Save what can be replaced while rows come in: tables, in regular files."""
        self._save_files(
            table,
            [
                form
                for form, path in self.paths.items()
                if form not in _SAVED_AT_THE_END and not is_special(Path(path))
            ],
        )

    def save(self, table: _T) -> None:
        """Save all files, and write the format that goes to stdout.

        Raises:
            NotSavedError: when a file can no longer be written; all the others are saved first.
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


def _check_stdout(form: Format) -> None:
    """Refuse stdout where it is closed, and a terminal for a PNG.

    Raises:
        UsageError: names the reason.
    """
    if is_stdout_closed():
        raise UsageError(form, STDOUT, "stdout is closed; name a file")
    if form == "png" and sys.stdout.isatty():
        raise UsageError(form, STDOUT, "cannot write a PNG to a terminal; name a file")


def _check_writable(form: Format, path: Path) -> None:
    """Refuse a path that cannot be written.

    Raises:
        UsageError: names the reason.
    """
    if str(path) in _NAMES_OF_STDIN:
        raise UsageError(form, path, "is stdin; name a file, or - for stdout")
    try:
        _try_to_write(form, path)
    except RuntimeError as error:  # raised by pathlib for links that lead to themselves
        raise UsageError(form, path, "is a link to itself; name a file") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(form, path, f"cannot be written ({reason}); name another file") from error


def _try_to_write(form: Format, path: Path) -> None:
    target = path.resolve()
    folder = target.parent
    if path.is_dir():
        raise UsageError(form, path, "is a folder; name a file")
    if not folder.is_dir():
        missing = f"folder {path.parent} does not exist"
        if path.is_symlink():
            missing = f"is a link to {target}, but folder {folder} does not exist"
        raise UsageError(form, path, missing)
    if path.exists() and not os.access(path, os.W_OK):
        raise UsageError(form, path, "is read-only")
    if is_special(path):
        return
    import tempfile

    try:
        # A file is replaced by a new one beside it, so try to create one.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            form, path, f"folder {path.parent} is not writable ({error.strerror})"
        ) from error
    if len(os.fsencode(target.name)) + _SUFFIX_BYTES > os.pathconf(folder, "PC_NAME_MAX"):
        raise UsageError(form, path, "the file name is too long; use a shorter one")


def _write_stdout(content: str | bytes) -> None:
    """Write the same bytes as to a file, whatever characters a terminal can show."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content.encode() if isinstance(content, str) else content)
    sys.stdout.buffer.flush()
