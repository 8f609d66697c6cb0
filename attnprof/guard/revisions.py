"""Revisions of the project's git repository, and temporary worktrees that have their files."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from attnprof.core.errors import UsageError, suggest_or_none
from attnprof.core.files import lock_exclusively
from attnprof.guard.git import Git, GitError
from attnprof.guard.submodules import fill_submodules

_PREFIX = f"attnprof-diff-{platform.node()}-"
"""Of temporary folders; those that killed runs have left on this machine are found by it."""

_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit, or the files of the checkout as they are.

    Attributes:
        name: as the user wrote it; `working tree` for the checkout.
        commit: its id; for the checkout that of the commit that is checked out.
        tree: the id of its content; empty for the checkout.
    """

    name: str
    commit: str
    tree: str = ""

    @property
    def is_checkout(self) -> bool:
        """Whether it is the checkout, uncommitted changes included."""
        return not self.tree

    def __str__(self) -> str:
        short = self.commit[:7]
        if self.is_checkout:
            return self.name
        return short if self.commit.startswith(self.name) else f"{self.name} ({short})"


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository with a checkout.

    Attributes:
        root: the folder of the checkout.
    """

    root: Path

    @property
    def git(self) -> Git:
        """Runs git in the checkout."""
        return Git(self.root)

    @property
    def common_folder(self) -> Path:
        """The folder with git's own data, which all worktrees share."""
        return (self.root / self.git("rev-parse", "--git-common-dir")).resolve()

    def revision(self, argument: str, name: str) -> Revision:
        """The revision that a branch, a tag or a commit names.

        Args:
            argument: of the command line, for the message.
            name: as the user wrote it.

        Raises:
            UsageError: when it does not exist; names the remedy in a shallow clone.
        """
        try:
            commit = self.git(
                *("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
            )
            tree = self.git("rev-parse", "--verify", f"{commit}^{{tree}}")
        except GitError:
            raise UsageError(argument, name, self._unknown(name)) from None
        return Revision(name, commit, tree)

    def checkout(self) -> Revision:
        """The files of the checkout as they are.

        Raises:
            UsageError: when nothing has been committed.
        """
        try:
            return Revision("working tree", self.git("rev-parse", "--verify", "--quiet", "HEAD"))
        except GitError:
            raise UsageError("base", "HEAD", "nothing has been committed here") from None

    def _unknown(self, name: str) -> str:
        """What is wrong with a revision that is not found, and what helps."""
        branch = name.partition("/")[2] if name.startswith("origin/") else name
        if self.git("rev-parse", "--is-shallow-repository") == "true":
            return (
                f"is not in this shallow clone; git fetch --depth=1 origin {branch}, or "
                f"fetch-depth: 0 for actions/checkout"
            )
        known = self.git("for-each-ref", "--format=%(refname:short)").splitlines()
        close = f"origin/{name}" if f"origin/{name}" in known else suggest_or_none(name, known)
        hint = f"did you mean {close}?" if close else "name a branch, a tag or a commit"
        return f"unknown revision; {hint}"

    def uncommitted(self) -> int:
        """The number of files that are changed, deleted or new and not committed."""
        lines = self.git.lines("status", "--porcelain", "-z", "--no-renames")
        return sum("__pycache__/" not in line for line in lines)

    def is_behind(self, base: Revision, head: Revision) -> bool:
        """Whether the base has commits that the head does not have, as far as history is known."""
        if self.git("rev-parse", "--is-shallow-repository") == "true":
            return False
        return not self.git.succeeds("merge-base", "--is-ancestor", base.commit, head.commit)

    def files(self, revision: Revision) -> list[PurePosixPath]:
        """The files of a revision, relative to the root; of the checkout also new ones."""
        if revision.is_checkout:
            words = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
        else:
            words = ("ls-tree", "-r", "-z", "--name-only", revision.commit)
        return [PurePosixPath(name) for name in self.git.lines(*words)]

    def renames(self, base: Revision, head: Revision) -> dict[str, str]:
        """The names at the base of files that were renamed since."""
        words = ("diff", "-M", "--name-status", "-z", "--diff-filter=R", base.commit)
        if not head.is_checkout:
            return _renames(self.git.lines(*words, head.commit))
        with tempfile.TemporaryDirectory() as folder:
            # New files are only compared if they are in an index; this is a copy of the user's.
            index = Path(folder) / "index"
            shutil.copyfile(self.root / self.git("rev-parse", "--git-path", "index"), index)
            git = Git(self.root, {"GIT_INDEX_FILE": str(index)})
            git("add", "--intent-to-add", "--", ".")
            return _renames(git.lines(*words))

    def text(self, revision: Revision, path: PurePosixPath) -> str | None:
        """The content of a file; None if the revision does not have it."""
        try:
            if revision.is_checkout:
                return (self.root / path).read_text(encoding="utf-8")
            return self.git("cat-file", "blob", f"{revision.commit}:{path}")
        except (GitError, OSError, UnicodeDecodeError):
            return None


def find_repository(folder: Path) -> Repository:
    """The repository that a folder is in.

    Raises:
        UsageError: when there is none, or git refuses it.
    """
    try:
        root = Git(folder)("rev-parse", "--show-toplevel")
    except GitError as error:
        reason = str(error)
        if "not a git repository" in reason:
            reason = "compares revisions of a git repository, and there is none here"
        raise UsageError("base", "guard diff", reason) from error
    return Repository(Path(root).resolve())


def _renames(items: Iterable[str]) -> dict[str, str]:
    """Earlier names by later ones, from status, earlier and later name of each file in turn."""
    each = iter(items)
    return {after: before for _, before, after in zip(each, each, each, strict=True)}


class Worktrees:
    """Temporary worktrees of a repository, which are made when they are first needed.

    Args:
        repository: whose revisions are checked out.
        folder: where; it is empty.

    Attributes:
        missing_submodules: by revision, the submodules whose commit is not in the local clone.
    """

    def __init__(self, repository: Repository, folder: Path) -> None:
        self._repository = repository
        self._folder = folder
        self._paths: dict[str, Path] = {}
        self.missing_submodules: dict[str, list[str]] = {}

    def path(self, revision: Revision) -> Path:
        """The folder with a revision's files.

        Raises:
            GitError: when it cannot be checked out.
        """
        if revision.is_checkout:
            return self._repository.root
        if revision.commit not in self._paths:
            path = self._folder / f"attnprof-{revision.commit[:12]}"
            self._paths[revision.commit] = path
            words = ("worktree", "add", "--detach", "--quiet", str(path), revision.commit)
            self._repository.git(*words)
            missing = list(fill_submodules(self._repository.git, revision.commit, path))
            self.missing_submodules[revision.name] = missing
        return self._paths[revision.commit]

    def remove(self) -> None:
        """Remove all of them."""
        _remove(self._repository.git, self._folder, self._paths.values())


@contextmanager
def worktrees(repository: Repository) -> Generator[Worktrees]:
    """Temporary worktrees; all are removed at the end, and those that killed runs have left."""
    _remove_abandoned(repository)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
    made = Worktrees(repository, folder)
    try:
        with (folder / _LOCK).open("w") as lock:
            lock_exclusively(lock.fileno(), waits=False)
            yield made
    finally:
        made.remove()


def _remove(git: Git, folder: Path, paths: Iterable[Path]) -> None:
    for path in paths:
        git.succeeds("worktree", "remove", "--force", "--force", str(path))
    shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(repository: Repository) -> None:
    """Remove worktrees of runs that were killed: nobody holds the lock of their folder."""
    for line in repository.git.lines("worktree", "list", "--porcelain", "-z"):
        path = Path(line.removeprefix("worktree "))
        is_ours = line.startswith("worktree ") and path.parent.name.startswith(_PREFIX)
        if is_ours and not _is_locked(path.parent / _LOCK):
            _remove(repository.git, path.parent, [path])


def _is_locked(path: Path) -> bool:
    """Whether another process holds the lock of a file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # another user's
    try:
        lock_exclusively(descriptor, waits=False)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
