"""Packages of a revision, and earlier names of renamed targets."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from attnprof.guard.renames import packages_in, renamed


def test_packages_are_those_of_the_projects_in_a_repository() -> None:
    files = (
        *("setup.py", "net.py", "flat/__init__.py", "flat/deep/__init__.py", "docs/conf.py"),
        *("src/inner/__init__.py", "libs/one/pyproject.toml", "libs/one/src/one/__init__.py"),
        *("here/local.py", "data/table.csv", "no-name.py", "other/two/__init__.py"),
    )
    found = packages_in(map(PurePosixPath, files), PurePosixPath("here"))
    assert found == {"net", "flat", "inner", "one", "local"}


@pytest.mark.parametrize(
    ("target", "file", "before", "name"),
    [
        ("a.new:Net", "a/new.py", "a/old.py", "a.old:Net"),
        ("a.b:Net(x=batch,len)", "src/a/b.py", "src/c/d.py", "c.d:Net(x=batch,len)"),
        ("a:Net", "a/__init__.py", "a.py", "a:Net"),
        ("a:Net", "src/a.py", "lib/b.py", "lib.b:Net"),
        ("a:Net", "a.py", "old-name.py", None),
        ("configs/new.json", "here/configs/new.json", "here/old.json", "old.json"),
        ("configs/new.json", "here/configs/new.json", "elsewhere/old.json", None),
        ("new.json::encoder", "new.json", "old.json", "old.json::encoder"),
    ],
)
def test_the_earlier_name_of_a_target(
    target: str, file: str, before: str, name: str | None
) -> None:
    assert renamed(target, file, before) == name
