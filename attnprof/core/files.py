"""Atomic file replacement, locks that exclude other processes, and paths in configuration."""

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
    """Whether the path is a device or a pipe, such as /dev/null, which must not be replaced."""
    return path.exists() and not stat.S_ISREG(path.stat().st_mode)


def path_from(base: Path, path: str, folder: Path) -> str:
    """A path that is relative to `base`, relative to a folder."""
    return path if Path(path).is_absolute() else os.path.relpath(base / path, folder)


def kernel_from(base: Path, name: str, folder: Path) -> str:
    """A kernel's name; the path of a config, relative to `base`, is made relative to a folder."""
    path, separator, part = name.partition("::")
    if not path.endswith(".json"):
        return name
    return f"{path_from(base, path, folder)}{separator}{part}"


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file's content, or create it: a reader finds the old content or the new.

    Devices and pipes are written to directly.

    The new file has no name until all of it is on the disk, where the system supports that
    (`O_TMPFILE`): a process that is killed leaves nothing behind.

    Raises:
        OSError: if it cannot be written; the old file is then unchanged.
    """
    if is_special(path):
        path.write_bytes(content)
        return
    target = path.resolve()
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with _unnamed_file(target.parent) as unnamed:
            file = unnamed or temporary.open("xb")
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            if unnamed:
                _link(unnamed, temporary)
            else:
                file.close()
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def lock_exclusively(descriptor: int, *, waits: bool) -> None:
    """Take the exclusive lock of an open file or folder, held until the descriptor is closed.

    Does nothing on systems without such locks (Windows).

    Args:
        descriptor: of the file or folder.
        waits: whether to wait for another process that holds the lock.

    Raises:
        BlockingIOError: if another process holds it and `waits` is false.
    """
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def _unnamed_file(folder: Path) -> Generator[IO[bytes] | None]:
    """A new file without a name; None where the system cannot create one or name it later."""
    file: IO[bytes] | None = None
    if hasattr(os, "O_TMPFILE") and Path(_DESCRIPTORS).is_dir():
        with suppress(OSError):
            file = os.fdopen(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600), "wb")
    try:
        yield file
    finally:
        if file is not None:
            file.close()


def _link(file: IO[bytes], path: Path) -> None:
    """Give an unnamed file a name, by a link to its descriptor in /proc, as open(2) describes."""
    folder = os.open(_DESCRIPTORS, os.O_RDONLY)
    try:
        os.link(str(file.fileno()), path, src_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
