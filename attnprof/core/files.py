"""Atomic file replacement, and locks that exclude other processes."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_DESCRIPTORS = "/proc/self/fd"


def is_special(path: Path) -> bool:
    """Whether the path is a device or pipe, such as /dev/null, which nothing should replace."""
    return path.exists() and not stat.S_ISREG(path.stat().st_mode)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file, or what is in its place.

    Until all of it is on the disk the new one has no name, where the system knows such files: a
    process that is killed leaves nothing behind.

    Raises:
        OSError: when it cannot be written; the old one is as it was.
    """
    if is_special(path):
        path.write_bytes(content)
        return
    target = path.resolve()
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with _nameless(target.parent) as nameless:
            file = nameless or beside.open("xb")
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            if nameless:
                _give_name(nameless, beside)
            else:
                file.close()
        beside.replace(target)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def lock_exclusively(descriptor: int, *, waits: bool) -> None:
    """Take the exclusive lock of an open file or folder, held until the descriptor is closed.

    Does nothing on systems without such locks (Windows).

    Args:
        descriptor: of the file or folder.
        waits: whether to wait for another process that holds the lock.

    Raises:
        BlockingIOError: when another process holds it and `waits` is false.
    """
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def _nameless(folder: Path) -> Generator[IO[bytes] | None]:
    """A file without a name; None where the system has none, or cannot name it later."""
    file: IO[bytes] | None = None
    if hasattr(os, "O_TMPFILE") and Path(_DESCRIPTORS).is_dir():
        with suppress(OSError):
            file = os.fdopen(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600), "wb")
    try:
        yield file
    finally:
        if file is not None:
            file.close()


def _give_name(file: IO[bytes], path: Path) -> None:
    """As open(2) has it: a link to what /proc knows the descriptor by."""
    folder = os.open(_DESCRIPTORS, os.O_RDONLY)
    try:
        os.link(str(file.fileno()), path, src_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
