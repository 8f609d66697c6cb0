"""A git repository with contracts, and `guard diff` on it in this process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from attnprof.guard.diff import Diff, Difference, Timing, diff
from attnprof.guard.revision_costs import Costs, open_cache
from attnprof.guard.revision_targets import Revisions, contracts_of, targets_of
from attnprof.guard.revisions import find_repository, worktrees
from attnprof.isolation.workers import Workers
from attnprof.options import GridOptions

IDENTITY = {
    **{f"GIT_{role}_NAME": "a" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_EMAIL": "a@b.c" for role in ("AUTHOR", "COMMITTER")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}

NET = """
import torch
from torch import nn


class {name}(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(8, {width}))

    def forward(self, x):
        return x @ self.weight
"""
"""8 MACs for each token and unit of its width."""

CONTRACT = '[guard.{name}]\ntarget = "{target}"\nlen = [64, 128]\ninput = "x=batch,len,8"\n'


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **IDENTITY},
    )
    return done.stdout.strip()


def net(width: int, name: str = "Net") -> str:
    return NET.format(name=name, width=width)


def net_contract(name: str = "net", target: str = "net:Net") -> str:
    return CONTRACT.format(name=name, target=target)


class GitProject:
    """A repository with a branch `main`."""

    def __init__(self, folder: Path, workers: Workers) -> None:
        self.folder = folder
        self.workers = workers
        self.warnings: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        git(folder, "init", "--quiet", "--initial-branch", "main")

    def git(self, *words: str) -> str:
        return git(self.folder, *words)

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def commit(self, files: Mapping[str, str]) -> str:
        """Write files and commit everything; the commit's id."""
        self.write(files)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "change")
        return self.git("rev-parse", "HEAD")

    def diff(
        self,
        base: str = "main",
        head: str | None = None,
        *,
        uses_cache: bool = True,
        targets: GridOptions | None = None,
        timing: Timing | None = None,
        workers: Workers | None = None,
    ) -> Diff:
        repository = find_repository(self.folder)
        judged = repository.checkout() if head is None else repository.revision("head", head)
        revisions = Revisions(repository, repository.revision("base", base), judged)
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            with worktrees(repository) as trees:
                if targets is None:
                    pair = contracts_of(revisions, trees, None)
                else:
                    pair = targets_of(revisions, trees, targets)
                cache = open_cache(repository, self.warnings.append, is_used=uses_cache)
                costs = Costs(pair, trees, workers or self.workers, cache)
                return diff(pair, costs, timing or Timing(), 100.0)
        finally:
            os.chdir(before)

    def only(self, base: str = "main", head: str | None = None) -> Difference:
        (difference,) = self.diff(base, head).differences
        return difference
