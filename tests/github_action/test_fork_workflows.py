"""Comments on pull requests from forks: one workflow measures, another one comments."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pull_request import ACTION, MARKER, NUMBER, REPORT, ROOT, PullRequest
from workflow_runner import Event, Job

GUARD = ROOT / "examples" / "guard"
POST = ACTION / "comment" / "post.py"


def measure(pull_request: PullRequest, event: Event | None = None) -> Job:
    """Run the first workflow; its artifact lies beside the repository."""

    def check_out(values: dict[str, str]) -> None:
        assert values["persist-credentials"] == "false"
        pull_request.clone(pull_request.origin.merge, int(values["fetch-depth"]))

    def upload(values: dict[str, str]) -> None:
        shutil.copytree(values["path"], artifact(pull_request, values))

    pull_request.program("python3", "exit 0")  # installs nothing
    pull_request.program("pip", "exit 0")
    runner = pull_request.runner(
        event or pull_request.opened(),
        pull_request.folder / "clone",
        checkout=check_out,
        setup_python=lambda values: None,
        upload_artifact=upload,
    )
    job = runner.workflow(GUARD / "pull-request.yml")
    (pull_request.bin / "python3").unlink()
    return job


def comment(pull_request: PullRequest, event: Event | None = None) -> Job:
    """Run the second workflow."""

    def download(values: dict[str, str]) -> None:
        assert (values["run-id"], values["github-token"]) == ("41", "the-token")
        shutil.copytree(artifact(pull_request, values), values["path"], symlinks=True)

    empty = pull_request.folder / "empty"
    empty.mkdir(exist_ok=True)
    shutil.rmtree(pull_request.temp / "attnprof", ignore_errors=True)
    runner = pull_request.runner(
        event or pull_request.reported(), empty, download_artifact=download
    )
    return runner.workflow(GUARD / "pull-request-comment.yml")


def artifact(pull_request: PullRequest, values: dict[str, str]) -> Path:
    return pull_request.folder / "artifacts" / values["name"]


def written(pull_request: PullRequest, report: str | bytes = REPORT, number: str = "7") -> Path:
    """An artifact as the code of a pull request could write it."""
    folder = pull_request.folder / "artifacts" / "attnprof"
    folder.mkdir(parents=True)
    (folder / "report.md").write_bytes(report if isinstance(report, bytes) else report.encode())
    (folder / "pull-request.txt").write_text(number)
    return folder


def writes(pull_request: PullRequest) -> list[str]:
    return [call for call in pull_request.calls if call.split()[0] in ("POST", "PATCH")][1:]


@pytest.mark.parametrize("exit_code", [0, 1])
def test_the_two_workflows_comment_on_what_was_measured(
    pull_request: PullRequest, exit_code: int
) -> None:
    pull_request.attnprof(exit_code)
    job = measure(pull_request)
    assert job.exit_code == exit_code, job.log
    assert pull_request.words[2] == pull_request.origin.base
    assert pull_request.calls == []
    job = comment(pull_request)
    assert job.exit_code == 0, job.log
    assert pull_request.comments[0]["on"] == str(NUMBER)
    assert pull_request.comments[0]["body"].startswith(REPORT)
    assert "actions/runs/41" in pull_request.comments[0]["body"]
    comment(pull_request)
    assert len(pull_request.comments) == 1


def test_no_comment_without_an_artifact_or_for_another_event(pull_request: PullRequest) -> None:
    job = comment(pull_request)
    assert (job.exit_code, job.outcomes["Comment"]) == (0, "skipped")
    event = pull_request.reported()
    event.payload["workflow_run"]["event"] = "push"
    assert comment(pull_request, event).log == "skipped"


def test_a_newer_commit_is_left_to_its_own_run(pull_request: PullRequest) -> None:
    written(pull_request)
    event = pull_request.reported()
    event.payload["workflow_run"]["head_sha"] = "1" * 40
    job = comment(pull_request, event)
    assert job.exit_code == 0
    assert f"::notice title=attnprof::no comment: #{NUMBER} is not, or no longer, at" in job.log
    assert writes(pull_request) == []


def test_a_failure_to_comment_fails_the_workflow_that_only_comments(
    pull_request: PullRequest,
) -> None:
    written(pull_request)
    pull_request.github(is_read_only=True)
    job = comment(pull_request)
    assert job.exit_code == 1
    assert "::error title=attnprof::no comment: gh: Resource not accessible" in job.log


# --- hostile artifacts ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", ["1; rm", "$(touch pwned)", "7/../8", "0", "-7", "", "٧", "7\n8"]
)
def test_what_is_no_number_is_refused(pull_request: PullRequest, number: str) -> None:
    written(pull_request, number=number)
    job = comment(pull_request)
    assert (job.exit_code, "pull-request.txt is not a number" in job.log) == (1, True)
    assert pull_request.calls == []
    assert not list(pull_request.folder.rglob("pwned"))


def test_another_pull_request_cannot_be_named(pull_request: PullRequest) -> None:
    written(pull_request, number="8")
    head_sha, another = pull_request.origin.head, "the report is not of #8"
    for head, message in [
        ({"sha": head_sha, "repo": {"id": 2}}, another),
        ({"sha": head_sha, "repo": None}, another),
        ({"sha": "2" * 40, "repo": {"id": 1}}, "#8 is not, or no longer, at commit"),
    ]:
        pull_request.github(pulls={"8": {"head": head}})
        assert message in comment(pull_request).log
    assert writes(pull_request) == []


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (f"{MARKER}\n{'x' * 65_536}", "report.md has more than 65,536 bytes"),
        (f"{MARKER}\n{'@' * 40_000}", "the comment would have more than 65,536 characters"),
        ("hello", "does not begin as a report of attnprof guard diff"),
        (MARKER.encode() + b"\n\xff", "report.md is not UTF-8"),
    ],
)
def test_what_is_no_report_is_refused(
    pull_request: PullRequest, report: str | bytes, message: str
) -> None:
    written(pull_request, report)
    job = comment(pull_request)
    assert (job.exit_code, message in job.log) == (1, True), job.log
    assert writes(pull_request) == []


def link_to_the_environment(path: Path) -> None:
    path.symlink_to("/proc/self/environ")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (link_to_the_environment, "report.md cannot be read"),
        (os.mkfifo, "report.md is not a plain file"),
        (Path.mkdir, "report.md is not a plain file"),
        (lambda path: None, "report.md cannot be read: No such file"),
    ],
    ids=["link", "pipe", "folder", "missing"],
)
def test_only_plain_files_are_read(
    pull_request: PullRequest, make: Callable[[Path], object], message: str
) -> None:
    folder = pull_request.temp / "attnprof"
    report = written(pull_request) / "report.md"
    report.unlink()
    shutil.copytree(report.parent, folder)
    make(folder / "report.md")
    runner = pull_request.runner(pull_request.reported(), pull_request.folder)
    job = runner.action(ACTION / "comment", {"folder": str(folder)})
    assert (job.exit_code, message in job.log) == (1, True), job.log
    assert "the-token" not in job.log
    assert writes(pull_request) == []
