"""Runs git so that it changes nothing of the user's: no hooks, no filters, no prompts, no index."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnprof.core.errors import MeasurementError

_SETTINGS = (
    *("core.hooksPath=/dev/null", "core.fsmonitor=false", "submodule.recurse=false"),
    *("filter.lfs.smudge=", "filter.lfs.process=", "filter.lfs.required=false"),
    *("advice.detachedHead=false", "core.quotePath=false"),
)
"""No hook runs, and large files stay the pointers that are committed: no network is needed."""

_VARIABLES = {
    "GIT_OPTIONAL_LOCKS": "0",  # `git status` would otherwise refresh the index
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "LC_ALL": "C",
}

_LOCAL_VARIABLES = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE"),
    *("GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_SHALLOW_FILE"),
)
"""Set by git for its hooks: they name another repository or index than that of a folder."""


class GitError(MeasurementError):
    """A git command failed; the message is its first line."""


@dataclass(frozen=True, slots=True)
class Git:
    """Runs git commands in a folder.

    Attributes:
        folder: where commands run.
        variables: environment variables, in addition to those of this process.
    """

    folder: Path
    variables: Mapping[str, str] | None = None

    def __call__(self, *words: str) -> str:
        """The output of a command, without the line break at its end.

        Raises:
            GitError: when it fails, or there is no git.
        """
        return self._run(words).rstrip("\n")

    def lines(self, *words: str) -> list[str]:
        """The output of a command with `-z`, whose items end with a null character.

        Raises:
            GitError: when it fails, or there is no git.
        """
        return [line for line in self._run(words).split("\0") if line]

    def succeeds(self, *words: str) -> bool:
        """Whether a command ends with exit code 0."""
        try:
            self._run(words)
        except GitError:
            return False
        return True

    def _run(self, words: Sequence[str]) -> str:
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        kept = {name: os.environ[name] for name in os.environ if name not in _LOCAL_VARIABLES}
        try:
            done = subprocess.run(
                ["git", *settings, "-C", str(self.folder), *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                env={**kept, **_VARIABLES, **(self.variables or {})},
                start_new_session=True,  # Ctrl-C in a terminal interrupts only the caller
            )
        except FileNotFoundError as error:
            raise GitError("git is not installed") from error
        if done.returncode:
            message = done.stderr.decode(errors="replace").strip().partition("\n")[0]
            raise GitError(message.removeprefix("fatal: ") or f"git {words[0]} failed")
        return done.stdout.decode(errors="surrogateescape")
