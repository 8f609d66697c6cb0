"""The standard streams of a command: only results on stdout, everything else on stderr."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Any

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_FALLBACK_COLUMNS = 80
_REPLACED = "attnprof.replaced"
"""Name of the error handler for characters that a stream's encoding lacks."""

_REPLACEMENTS = {
    "−": "-", "–": "-", "—": "-", "×": "x", "·": "*", "²": "^2", "³": "^3", "µ": "u", "±": "+/-",
    "→": "->", "…": "...", "≈": "~", "≤": "<=", "≥": ">=", "√": "sqrt", "σ": "sigma", "π": "pi",
    "█": "#", "▓": "%", "▒": "+", "░": ".", "▀": "'", "▄": ",",
    "°": " deg", "✅": "ok", "❌": "x", "⚠": "!", "\ufe0f": "",
}  # fmt: skip

_closed: set[int] = set()
"""Descriptors of standard streams that were closed when the command started."""


def prepare() -> None:
    """Prepare the standard streams of this process; streams that replace them are left alone.

    Closed streams are redirected to the null device, so that no file gets their descriptors. What
    others than `sys.stdout` write to descriptor 1, such as user code and its subprocesses, goes to
    stderr. A message that cannot be written to stderr is dropped.
    """
    codecs.register_error(_REPLACED, _replaced)
    for descriptor in (_STDIN, _STDOUT, _STDERR):
        _open_if_closed(descriptor)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_LossyFile(_STDERR, "w", closefd=False), sys.__stderr__, is_lined=True)
    if sys.stdout is sys.__stdout__:
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()
        results = os.dup(_STDOUT)
        os.dup2(_STDERR, _STDOUT)
        sys.stdout = _text(io.FileIO(results, "w"), sys.__stdout__, is_lined=os.isatty(results))


def is_stdout_closed() -> bool:
    """Whether results on stdout would be lost."""
    return _STDOUT in _closed


def drop_stdout() -> None:
    """Discard what is buffered for stdout and what is written there from now on."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # a replacement without a descriptor
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def columns() -> int:
    """The width of the terminal that results go to."""
    try:
        return int(os.environ["COLUMNS"]) or _FALLBACK_COLUMNS
    except (KeyError, ValueError):
        pass
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _FALLBACK_COLUMNS
    except (OSError, ValueError):
        return _FALLBACK_COLUMNS


class _LossyFile(io.FileIO):
    """A file whose failed writes are dropped: the disk is full, or nobody reads."""

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
    """A text stream to a file, in the encoding of another stream, line-buffered if `is_lined`."""
    encoding = getattr(like, "encoding", None) or "utf-8"
    buffer = io.BufferedWriter(file)
    return io.TextIOWrapper(buffer, encoding, errors=_REPLACED, line_buffering=is_lined)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """The text for characters that an encoding lacks: `^2` for `²`, `e` for `é`, `?` for others.

    Raises:
        UnicodeError: unless the error is one of encoding.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(map(_to_ascii, characters)), error.end


def _to_ascii(character: str) -> str:
    if character in _REPLACEMENTS:
        return _REPLACEMENTS[character]
    import unicodedata

    letters = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return letters or "?"
