"""A repository with a pull request, its clone as actions/checkout makes it, and programs around."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from git_project import git
from workflow_runner import Event, Runner

ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".github" / "actions" / "attnprof"
FAKE_GH = Path(__file__).with_name("fake_gh.py")

NUMBER = 7
MARKER = "<!-- attnprof guard diff -->"
REPORT = f"{MARKER}\n**attnprof guard diff**: 1 contract: 1 kept\n"


class Repository:
    """`main` has moved on since a branch left it; the branch is merged as GitHub does for a run."""

    def __init__(
        self,
        folder: Path,
        branch: str = "change",
        first: Mapping[str, str] = MappingProxyType({"a.txt": ""}),
        change: Mapping[str, str] = MappingProxyType({"b.txt": ""}),
    ) -> None:
        self.folder = folder
        self.branch = branch
        git(self.folder, "init", "--quiet", "--initial-branch", "main")
        git(self.folder, "config", "uploadpack.allowAnySHA1InWant", "true")
        self.fork_point = self._commit(first)
        git(self.folder, "checkout", "--quiet", "-b", branch)
        self.head = self._commit(change)
        git(self.folder, "checkout", "--quiet", "main")
        self.base = self._commit({"c.txt": ""})
        git(self.folder, "checkout", "--quiet", "--detach")
        git(self.folder, "merge", "--quiet", "--no-ff", "-m", "merge", branch)
        self.merge = git(self.folder, "rev-parse", "HEAD")
        git(self.folder, "update-ref", f"refs/pull/{NUMBER}/merge", self.merge)
        git(self.folder, "checkout", "--quiet", "main")

    def _commit(self, files: Mapping[str, str]) -> str:
        for name, text in files.items():
            (self.folder / name).write_text(text)
        git(self.folder, "add", ".")
        git(self.folder, "commit", "--quiet", "-m", " ".join(files))
        return git(self.folder, "rev-parse", "HEAD")


class PullRequest:
    """The machine that a run for a pull request gets, and GitHub as it answers."""

    def __init__(self, folder: Path, origin: Repository) -> None:
        self.folder = folder
        self.origin = origin
        self.gh = folder / "github.json"
        self.github(pulls={str(NUMBER): {"head": {"sha": origin.head, "repo": {"id": 1}}}})
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.temp = folder / "temp"
        self.temp.mkdir()
        self.program("gh", f'exec "{sys.executable}" -IS "{FAKE_GH}" "$@"')
        self.attnprof()

    def clone(self, commit: str, depth: int | None = 1) -> Path:
        """Clone a commit, as actions/checkout does; without a depth, with all branches."""
        clone = self.folder / "clone"
        git(self.folder, "init", "--quiet", str(clone))
        git(clone, "remote", "add", "origin", self.origin.folder.as_uri())
        branches = "+refs/heads/*:refs/remotes/origin/*"
        what = [f"--depth={depth}", commit] if depth else [branches, commit]
        git(clone, "fetch", "--quiet", "--no-tags", "origin", *what)
        git(clone, "checkout", "--quiet", "--detach", commit)
        return clone

    def program(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)

    def attnprof(self, exit_code: int = 0, report: str = REPORT) -> None:
        """Stand in for attnprof: keep the words of the command, print a report."""
        (self.folder / "report").write_text(report)
        words = f'printf "%s\\n" "$@" >"{self.folder}/words"'
        self.program("attnprof", f'{words}\ncat "{self.folder}/report"\nexit {exit_code}')

    @property
    def words(self) -> list[str]:
        """What attnprof was called with."""
        return (self.folder / "words").read_text().splitlines()

    def github(self, **state: Any) -> None:
        """Change what GitHub has."""
        before = (
            json.loads(self.gh.read_text()) if self.gh.exists() else {"calls": [], "comments": []}
        )
        self.gh.write_text(json.dumps(before | state))

    @property
    def calls(self) -> list[str]:
        return json.loads(self.gh.read_text())["calls"]

    @property
    def comments(self) -> list[dict[str, Any]]:
        return json.loads(self.gh.read_text())["comments"]

    def opened(self) -> Event:
        head = {"sha": self.origin.head, "ref": self.origin.branch}
        pull_request = {"number": NUMBER, "head": head, "base": {"sha": self.origin.base}}
        return Event("pull_request", {"pull_request": pull_request}, self.origin.merge)

    def reported(self) -> Event:
        """The end of a run for this pull request."""
        run = {
            "id": 41,
            "event": "pull_request",
            "head_sha": self.origin.head,
            "head_branch": self.origin.branch,
            "head_repository": {"id": 1},
            "html_url": "https://github.com/owner/project/actions/runs/41",
        }
        return Event("workflow_run", {"workflow_run": run})

    def runner(self, event: Event, workspace: Path, **actions: Any) -> Runner:
        owner = "OWNER/attnprof/.github/actions/attnprof"
        own = {owner: ACTION, f"{owner}/comment": ACTION / "comment"}
        others = {f"actions/{name.replace('_', '-')}": do for name, do in actions.items()}
        path = os.pathsep.join([str(self.bin), os.environ["PATH"]])
        environment = {"PATH": path, "FAKE_GITHUB": str(self.gh)}
        return Runner(workspace, self.temp, event, {**own, **others}, environment)
