"""The standard streams of a command: results on stdout and nothing else, all the rest on stderr."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Any

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_FALLBACK_COLUMNS = 80
_REPLACED = "attnprof.replaced"
"""The handler of signs that a stream's encoding lacks."""

_SIGNS = {
    "−": "-", "–": "-", "—": "-", "×": "x", "·": "*", "²": "^2", "³": "^3", "µ": "u", "±": "+/-",
    "→": "->", "…": "...", "≈": "~", "≤": "<=", "≥": ">=", "√": "sqrt", "σ": "sigma", "π": "pi",
    "°": " deg", "✅": "ok", "❌": "x", "⚠": "!", "\ufe0f": "",
}  # fmt: skip

_closed: set[int] = set()
"""Descriptors of standard streams that were closed when the command began."""


def prepare() -> None:
    """Make the process's own streams fit for use; streams that stand in for them stay as they are.

    Closed ones lead nowhere, and no file gets their descriptors. What is written to descriptor 1
    by others than `sys.stdout`, such as user code and the processes that it starts, is on stderr.
    A message that stderr has no room for is lost, and changes nothing else.
    """
    codecs.register_error(_REPLACED, _replaced)
    for descriptor in (_STDIN, _STDOUT, _STDERR):
        _open_if_closed(descriptor)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_LossyFile(_STDERR, "w", closefd=False), sys.__stderr__, is_lined=True)
    if sys.stdout is sys.__stdout__:
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()
        ours = os.dup(_STDOUT)
        os.dup2(_STDERR, _STDOUT)
        sys.stdout = _text(io.FileIO(ours, "w"), sys.__stdout__, is_lined=os.isatty(ours))


def is_stdout_closed() -> bool:
    """Whether results on stdout would be lost."""
    return _STDOUT in _closed


def drop_stdout() -> None:
    """What else is written there, and what waits to be, is lost."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # it stands in for one, and has none
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def columns() -> int:
    """Columns of the terminal that results go to."""
    try:
        return int(os.environ["COLUMNS"]) or _FALLBACK_COLUMNS
    except (KeyError, ValueError):
        pass
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _FALLBACK_COLUMNS
    except (OSError, ValueError):
        return _FALLBACK_COLUMNS


class _LossyFile(io.FileIO):
    """A file that takes what it is given, and loses what there is no room or reader for."""

    def write(self, content: Any, /) -> int:
        """Write what can be written."""
        try:
            return super().write(content)
        except OSError:
            return len(content)


def _open_if_closed(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        _closed.add(descriptor)
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != descriptor:
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


def _text(file: io.FileIO, like: Any, *, is_lined: bool) -> io.TextIOWrapper:
    """A text stream to a file, in the encoding of another."""
    encoding = getattr(like, "encoding", None) or "utf-8"
    buffer = io.BufferedWriter(file)
    return io.TextIOWrapper(buffer, encoding, errors=_REPLACED, line_buffering=is_lined)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """What is written for signs that an encoding lacks: `^2` for `²`, `e` for `é`, `?` for others.

    Raises:
        UnicodeError: when it is about anything but writing.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(map(_plain, signs)), error.end


def _plain(sign: str) -> str:
    if sign in _SIGNS:
        return _SIGNS[sign]
    import unicodedata

    letters = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return letters or "?"
