"""Revisions and their worktrees: real repositories, and nothing of the user's is touched."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path, PurePosixPath

import pytest
from git_project import IDENTITY, git

from attnprof.core.errors import UsageError
from attnprof.core.files import lock_exclusively
from attnprof.guard.revisions import Repository, find_repository, worktrees


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)


def commit(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "change")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "main")
    commit(folder, a="1\n", b="1\n")
    return find_repository(folder)


def test_a_worktree_has_the_files_of_its_revision_and_is_removed(repository: Repository) -> None:
    first = repository.revision("base", "main")
    commit(repository.root, a="2\n")
    (repository.root / "a.py").write_text("3\n")
    git(repository.root, "add", "a.py")
    (repository.root / "a.py").write_text("4\n")
    state = git(repository.root, "status", "--porcelain"), git(repository.root, "for-each-ref")
    index = (repository.root / ".git" / "index").read_bytes()
    with worktrees(repository) as trees:
        folder = trees.path(first)
        assert (folder / "a.py").read_text() == "1\n"
        assert trees.path(first) == folder
        assert trees.path(repository.checkout()) == repository.root
        assert repository.uncommitted() == 1
    assert not folder.parent.exists()
    assert len(git(repository.root, "worktree", "list").splitlines()) == 1
    assert (repository.root / ".git" / "index").read_bytes() == index
    assert (
        git(repository.root, "status", "--porcelain"),
        git(repository.root, "for-each-ref"),
    ) == (state)


def test_no_hook_runs_and_large_files_stay_pointers(repository: Repository) -> None:
    hook = repository.root / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {repository.root / 'hooked'}\n")
    hook.chmod(0o755)
    (repository.root / ".gitattributes").write_text("*.py filter=lfs\n")
    commit(repository.root, a="pointer\n")
    for key, value in (("smudge", "false"), ("process", "false"), ("required", "true")):
        git(repository.root, "config", f"filter.lfs.{key}", value)
    with worktrees(repository) as trees:
        folder = trees.path(repository.revision("base", "HEAD"))
        assert (folder / "a.py").read_text() == "pointer\n"
    assert not (repository.root / "hooked").exists()


def test_variables_of_a_hook_do_not_lead_to_another_index(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    with worktrees(repository) as trees:
        assert (trees.path(repository.revision("base", "main")) / "a.py").exists()
    assert not (tmp_path / "index").exists()


def test_worktrees_of_a_killed_run_are_removed_by_the_next(repository: Repository) -> None:
    revision = repository.revision("base", "main")
    with worktrees(repository) as running, worktrees(repository) as killed:
        kept, left = running.path(revision), killed.path(revision)
        (left.parent / "lock").unlink()  # as nobody holds it any more
        (left.parent / "lock").touch()
        with worktrees(repository):
            assert not left.exists()
            assert kept.exists()
        listed = git(repository.root, "worktree", "list")
        assert str(left) not in listed
        assert str(kept) in listed


def test_a_worktree_of_the_user_is_never_removed(repository: Repository, tmp_path: Path) -> None:
    git(repository.root, "worktree", "add", "--quiet", "--detach", str(tmp_path / "own"))
    git(repository.root, "worktree", "add", "--quiet", "--detach", str(tmp_path / "away"))
    subprocess.run(["rm", "-r", str(tmp_path / "away")], check=True)  # a disk that is not mounted
    with worktrees(repository) as trees:
        trees.path(repository.revision("base", "main"))
    assert len(git(repository.root, "worktree", "list").splitlines()) == 3


def test_an_interrupt_removes_the_worktree(repository: Repository) -> None:
    made: list[Path] = []

    def interrupted() -> None:
        with worktrees(repository) as trees:
            made.append(trees.path(repository.revision("base", "main")))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not made[0].exists()


def test_the_lock_of_a_running_command_is_held(repository: Repository) -> None:
    with worktrees(repository) as trees:
        folder = trees.path(repository.revision("base", "main")).parent
        with (folder / "lock").open() as file, pytest.raises(BlockingIOError):
            lock_exclusively(file.fileno(), waits=False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mian", "unknown revision; did you mean main?"),
        ("0123456789", "unknown revision; name a branch, a tag or a commit"),
        ("--all", "unknown revision; name a branch, a tag or a commit"),
        ("topic", "unknown revision; did you mean origin/topic?"),
    ],
)
def test_an_unknown_revision_is_refused(repository: Repository, name: str, message: str) -> None:
    git(repository.root, "update-ref", "refs/remotes/origin/topic", "HEAD")
    with pytest.raises(UsageError) as caught:
        repository.revision("base", name)
    assert caught.value.expected == message


def test_a_shallow_clone_without_the_base_says_how_to_fetch_it(
    repository: Repository, tmp_path: Path
) -> None:
    commit(repository.root, a="2\n")
    source = f"file://{repository.root}"
    git(tmp_path, "clone", "--quiet", "--depth", "1", source, "clone")
    clone = find_repository(tmp_path / "clone")
    with pytest.raises(UsageError) as caught:
        clone.revision("base", "main~1")
    assert "shallow clone; git fetch --deepen=100 fetches" in caught.value.expected
    assert "fetch-depth: 0" in caught.value.expected
    git(repository.root, "branch", "topic", "main~1")
    with pytest.raises(UsageError) as caught:
        clone.revision("base", "topic")
    match = re.search("; git (fetch .*), and name it (.*?);", caught.value.expected)
    assert match is not None
    git(clone.root, "fetch", "--quiet", *match[1].split()[1:])
    assert clone.revision("base", match[2]).commit == git(repository.root, "rev-parse", "topic")
    assert not clone.is_behind(clone.revision("base", "main"), clone.checkout())


def test_no_repository_and_no_commit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is none here"):
        find_repository(tmp_path)
    git(tmp_path, "init", "--quiet")
    with pytest.raises(UsageError, match="nothing has been committed"):
        find_repository(tmp_path).checkout()


def test_commits_that_only_the_base_has_are_noticed(repository: Repository) -> None:
    git(repository.root, "checkout", "--quiet", "-b", "topic")
    commit(repository.root, b="2\n")
    main, topic = (repository.revision("base", name) for name in ("main", "topic"))
    assert not repository.is_behind(main, topic)
    git(repository.root, "checkout", "--quiet", "main")
    commit(repository.root, a="3\n")
    assert repository.is_behind(repository.revision("base", "main"), topic)
    git(repository.root, "checkout", "--quiet", "--orphan", "other")
    commit(repository.root, c="4\n")
    assert not repository.is_behind(topic, repository.revision("base", "other"))


def test_files_and_renames_of_a_revision(repository: Repository) -> None:
    main = repository.revision("base", "main")
    commit(repository.root, a="".join(f"line {index}\n" for index in range(20)))
    before = repository.revision("base", "HEAD")
    (repository.root / "a.py").rename(repository.root / "ä c.py")
    (repository.root / "new.py").write_text("")
    assert repository.files(main) == [PurePosixPath("a.py"), PurePosixPath("b.py")]
    assert PurePosixPath("new.py") in repository.files(repository.checkout())
    assert repository.renames(before, repository.checkout()) == {"ä c.py": "a.py"}
    assert repository.text(main, PurePosixPath("a.py")) == "1"
    assert repository.text(main, PurePosixPath("none.py")) is None


def test_submodules_are_filled_from_the_local_clone(repository: Repository, tmp_path: Path) -> None:
    for name in ("inner", "library"):
        folder = tmp_path / name
        folder.mkdir()
        git(folder, "init", "--quiet", "--initial-branch", "main")
        commit(folder, part=f"{name} 1\n")
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add")
    git(tmp_path / "library", *add, str(tmp_path / "inner"), "deep")
    commit(tmp_path / "library")
    git(repository.root, *add, str(tmp_path / "library"), "libs/library")
    update = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init")
    git(repository.root, *update, "--recursive")
    commit(repository.root)
    base = repository.revision("base", "HEAD")
    library = repository.root / "libs" / "library"
    git(library, "config", "user.name", "a")
    commit(library, part="library 2\n")
    with worktrees(repository) as trees:
        folder = trees.path(base) / "libs" / "library"
        assert (folder / "part.py").read_text() == "library 1\n"
        assert (folder / "deep" / "part.py").read_text() == "inner 1\n"
        assert not trees.missing_submodules["HEAD"]
    assert (library / "part.py").read_text() == "library 2\n"
    assert not git(library, "status", "--porcelain")


def test_a_submodule_that_was_not_cloned_is_named(repository: Repository, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "--quiet", "--initial-branch", "main")
    commit(library, part="1\n")
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add")
    git(repository.root, *add, str(library), "library")
    commit(repository.root)
    git(tmp_path, "clone", "--quiet", str(repository.root), "clone")
    clone = find_repository(tmp_path / "clone")
    with worktrees(clone) as trees:
        trees.path(clone.revision("base", "main"))
        assert trees.missing_submodules["main"] == ["library"]
