"""Files are replaced atomically, whatever happens while they are written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from attnprof.core import files
from attnprof.core.files import replace_file


@pytest.mark.parametrize("is_unnamed", [True, False])
def test_a_file_is_replaced_and_nothing_is_left_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_unnamed: bool
) -> None:
    if not is_unnamed:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    path = tmp_path / "a.csv"
    replace_file(path, b"one")
    path.chmod(0o640)
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("is_unnamed", [True, False])
def test_a_failure_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_unnamed: bool
) -> None:
    if not is_unnamed:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    path = tmp_path / "a.csv"
    replace_file(path, b"one")

    def fails(descriptor: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"two")
    assert path.read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    target.write_bytes(b"one")
    link.symlink_to(target)
    replace_file(link, b"two")
    assert link.is_symlink()
    assert target.read_bytes() == b"two"


WRITE_FOREVER = """
import sys, threading
from pathlib import Path
from attnprof.core.files import replace_file
print("ready", flush=True)
while True:
    replace_file(Path(sys.argv[1]), bytes(2**22))
"""


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="the system has no unnamed files")
def test_a_process_killed_while_it_writes_leaves_a_complete_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOREVER, str(path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        while not path.exists():
            assert process.poll() is None
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert path.stat().st_size == 2**22
        assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert files.is_special(Path(os.devnull))
