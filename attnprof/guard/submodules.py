"""Fills the submodules of a worktree from the local clone; git leaves them empty there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from attnprof.guard.git import Git, GitError

_MODE = "160000"
"""Of a submodule in git's listings of a tree."""


def fill_submodules(checkout: Git, commit: str, worktree: Path) -> Iterator[str]:
    """Write the files of a commit's submodules, without network.

    Neither a submodule's own checkout nor its index is touched.

    Args:
        checkout: git in the folder with the user's checkout, or in a submodule of it.
        commit: whose submodules.
        worktree: the folder with the commit's files.

    Yields:
        The paths of submodules whose commit is not in the local clone, in `worktree`.
    """
    for path, submodule_commit in _submodules(checkout, commit):
        submodule = Git(checkout.folder / path)
        target = worktree / path
        try:
            _write_files(submodule, submodule_commit, target)
        except GitError:
            yield path
            continue
        yield from (
            f"{path}/{name}" for name in fill_submodules(submodule, submodule_commit, target)
        )


def _submodules(git: Git, commit: str) -> Iterator[tuple[str, str]]:
    """Path and commit of each submodule."""
    for line in git.lines("ls-tree", "-r", "-z", commit):
        entry, _, path = line.partition("\t")
        mode, _, object_id = entry.split(" ")
        if mode == _MODE:
            yield path, object_id


def _write_files(submodule: Git, commit: str, target: Path) -> None:
    """Write a commit's files into a folder, by way of an index of its own.

    Raises:
        GitError: when the submodule has not been cloned, or has no such commit.
    """
    if not submodule.folder.is_dir() or submodule("rev-parse", "--show-prefix"):
        raise GitError("has not been cloned")  # the folder belongs to the outer repository
    with tempfile.TemporaryDirectory() as folder:
        target.mkdir(parents=True, exist_ok=True)
        variables = {
            "GIT_DIR": submodule("rev-parse", "--absolute-git-dir"),
            "GIT_WORK_TREE": str(target),
            "GIT_INDEX_FILE": str(Path(folder) / "index"),
        }
        into_target = Git(target, variables)
        into_target("read-tree", commit)
        into_target("checkout-index", "--all", "--force")
