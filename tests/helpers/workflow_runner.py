"""Runs the steps of a workflow or of a composite action in order, as GitHub's runner does.

Only what the examples and the action use; anything else fails a test.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from timeouts import PATIENCE_SECONDS
from workflow_expressions import STATUS_FUNCTION, is_true, resolved

STEP_KEYS = {"id", "name", "if", "uses", "with", "run", "shell", "env", "working-directory"}
STEP_KEYS |= {"continue-on-error"}

Outside = Callable[[dict[str, str]], None]
"""An action of others, in whose place a function takes the values of `with`."""


@dataclass
class Event:
    """What started the run."""

    name: str
    payload: dict[str, Any]
    sha: str = "0" * 40


@dataclass
class Job:
    """What became of the steps."""

    outcomes: dict[str, str] = field(default_factory=dict[str, str])
    outputs: dict[str, str] = field(default_factory=dict[str, str])
    exit_code: int = 0
    log: str = ""


@dataclass
class Runner:
    """A machine with a checked-out repository."""

    workspace: Path
    temp: Path
    event: Event
    actions: Mapping[str, Path | Outside] = field(default_factory=dict[str, "Path | Outside"])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    def workflow(self, path: Path) -> Job:
        """Run the only job of a workflow."""
        (job,) = yaml.safe_load(path.read_text())["jobs"].values()
        contexts = self._contexts()
        if not is_true(job.get("if", "always()"), contexts):
            return Job(log="skipped")
        return self._steps(job["steps"], contexts, None)

    def action(self, folder: Path, values: Mapping[str, str]) -> Job:
        """Run a composite action."""
        action = yaml.safe_load((folder / "action.yml").read_text())
        inputs: dict[str, str] = {}
        for name, meaning in action["inputs"].items():
            assert name in values or "default" in meaning, f"needs a value: {name}"
            inputs[name] = values.get(name) or resolved(meaning.get("default"), self._contexts())
        assert values.keys() <= inputs.keys(), values
        contexts = self._contexts() | {"inputs": inputs}
        job = self._steps(action["runs"]["steps"], contexts, folder)
        job.outputs = {
            # The runner evaluates them after a failure, too.
            name: resolved(output["value"], contexts)
            for name, output in action.get("outputs", {}).items()
        }
        return job

    def _contexts(self) -> dict[str, Any]:
        github = {"event_name": self.event.name, "event": self.event.payload, "sha": self.event.sha}
        github["token"] = "the-token"
        return {"github": github, "runner": {"temp": str(self.temp)}, "steps": {}}

    def _steps(self, steps: list[dict[str, Any]], contexts: Any, folder: Path | None) -> Job:
        job = Job()
        for number, step in enumerate(steps):
            assert step.keys() <= STEP_KEYS, step
            name = step.get("id") or step.get("name") or f"step {number}"
            done = self._step(step, contexts, folder, has_failed=job.exit_code != 0)
            job.log += done.log
            outcome = "skipped" if done.log == "skipped" else "success"
            job.outcomes[name] = "failure" if done.exit_code else outcome
            is_whole = job.outcomes[name] == "success"
            outputs = done.outputs if is_whole else _Lenient(done.outputs)
            contexts["steps"][name] = {"outputs": outputs, "outcome": job.outcomes[name]}
            if not step.get("continue-on-error"):
                job.exit_code = job.exit_code or done.exit_code
        return job

    def _step(
        self, step: dict[str, Any], contexts: Any, folder: Path | None, *, has_failed: bool
    ) -> Job:
        condition = step.get("if", "always()" if not has_failed else "''")
        if has_failed and STATUS_FUNCTION not in condition:
            return Job(log="skipped")
        if not is_true(condition, contexts):
            return Job(log="skipped")
        if "uses" not in step:
            return self._shell(step, contexts, folder)
        values = {name: resolved(value, contexts) for name, value in step.get("with", {}).items()}
        action = self.actions[step["uses"].partition("@")[0]]
        if isinstance(action, Path):
            return self.action(action, values)
        try:
            action(values)
        except FileNotFoundError as error:
            return Job(exit_code=1, log=f"{error}\n")
        return Job()

    def _shell(self, step: dict[str, Any], contexts: Any, folder: Path | None) -> Job:
        assert "${{" not in step["run"], "a value could be a command"
        assert folder is None or step["shell"] == "bash"
        output = self.temp / "output"
        output.write_text("")
        own = {name: resolved(value, contexts) for name, value in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.workspace / resolved(step.get("working-directory", "."), contexts),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
            env={**self._variables(output, folder), **own},
        )
        lines = [line.partition("=") for line in output.read_text().splitlines()]
        outputs = {name: value for name, _, value in lines}
        return Job(outputs=outputs, exit_code=done.returncode, log=done.stdout)

    def _variables(self, output: Path, folder: Path | None) -> dict[str, str]:
        event = self.temp / "event.json"
        event.write_text(json.dumps(self.event.payload))
        inherited = {name: v for name, v in os.environ.items() if not name.startswith("GITHUB_")}
        action = {} if folder is None else {"GITHUB_ACTION_PATH": str(folder)}
        return {
            **inherited,
            **self.environment,
            **action,
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": self.event.name,
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_REPOSITORY": "owner/project",
            "GITHUB_RUN_ID": "42",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_STEP_SUMMARY": str(self.temp / "summary.md"),
            "GITHUB_WORKSPACE": str(self.workspace),
            "RUNNER_TEMP": str(self.temp),
        }


class _Lenient(dict[str, str]):
    """Outputs of a step that did not end well: those that it did not set are empty."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return ""
