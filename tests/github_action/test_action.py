"""The GitHub action and its comment, run step by step in a real repository with a fake GitHub."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from command_line import attnprof
from git_project import git
from pull_request import ACTION, MARKER, NUMBER, REPORT, ROOT, PullRequest, Repository
from workflow_runner import Event, Job

GUARD = ROOT / "examples" / "guard"
WORKFLOWS = sorted(GUARD.glob("*.yml"))
ACTIONS = [ACTION / "action.yml", ACTION / "comment" / "action.yml"]
BIN = Path(sys.executable).parent


def compare(pull_request: PullRequest, event: Event | None = None, **inputs: str) -> Job:
    """Run the action on a clone of depth 1, the default of actions/checkout."""
    event = event or pull_request.opened()
    clone = pull_request.folder / "clone"
    if not clone.exists():
        pull_request.clone(pull_request.origin.merge)
    return pull_request.runner(event, clone).action(ACTION, {"install": "none", **inputs})


def own_comments(pull_request: PullRequest) -> list[str]:
    bot = {"login": "github-actions[bot]"}
    return [comment["body"] for comment in pull_request.comments if comment["user"] == bot]


# --- what the files say ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ("vendor.github-actions", ACTIONS),
        ("vendor.github-workflows", [path for path in WORKFLOWS if "pre-commit" not in path.name]),
    ],
)
def test_actions_and_workflows_follow_their_schemas(schema: str, paths: list[Path]) -> None:
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", schema, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_workflow_that_may_write_runs_nothing_of_the_pull_request() -> None:
    reads = yaml.safe_load((GUARD / "pull-request.yml").read_text())
    assert reads["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in reads["jobs"].values())
    writes = yaml.safe_load((GUARD / "pull-request-comment.yml").read_text())
    (job,) = writes["jobs"].values()
    assert writes["permissions"] == {}
    assert job["permissions"] == {"actions": "read", "pull-requests": "write"}
    assert [step["uses"].partition("@")[0] for step in job["steps"]] == [
        "actions/download-artifact",
        "OWNER/attnprof/.github/actions/attnprof/comment",
    ]
    assert writes[True]["workflow_run"]["workflows"] == [reads["name"]]  # YAML 1.1 reads `on` so
    for path in WORKFLOWS:
        used = re.findall(r"uses: (\S+)", path.read_text())
        assert all(re.fullmatch(r"[\w./-]+@v\d+", action) for action in used), path


# --- the base -------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2])
def test_base_of_a_pull_request_is_the_merge_commits_first_parent(
    pull_request: PullRequest, depth: int
) -> None:
    pull_request.clone(pull_request.origin.merge, depth)
    job = compare(pull_request)
    assert (job.exit_code, job.outputs["verdict"]) == (0, "kept"), job.log
    assert pull_request.words == ["guard", "diff", pull_request.origin.base, "--format", "markdown"]


def test_base_of_a_checked_out_head_is_where_it_left_the_branch(pull_request: PullRequest) -> None:
    pull_request.clone(pull_request.origin.head, depth=None)
    assert compare(pull_request).exit_code == 0
    assert pull_request.words[2] == pull_request.origin.fork_point


def test_a_clone_without_the_base_says_what_to_set(pull_request: PullRequest) -> None:
    pull_request.clone(pull_request.origin.head)
    job = compare(pull_request)
    assert job.exit_code == 2
    assert "::no base found for this pull_request: set base:, or fetch-depth: 0" in job.log


def test_base_of_other_events(pull_request: PullRequest) -> None:
    for event, base in [
        (Event("push", {"before": pull_request.origin.fork_point}), pull_request.origin.fork_point),
        (
            Event("merge_group", {"merge_group": {"base_sha": pull_request.origin.base}}),
            pull_request.origin.base,
        ),
    ]:
        assert compare(pull_request, event).exit_code == 0
        assert pull_request.words[2] == base
    for event in (Event("schedule", {}), Event("push", {"before": "0" * 40})):
        job = compare(pull_request, event)
        assert job.exit_code == 2
        assert f"no base found for this {event.name}: set base:" in job.log


def test_a_given_base_is_fetched_or_refused(pull_request: PullRequest) -> None:
    assert compare(pull_request, base="main").exit_code == 0
    assert pull_request.words[2] == pull_request.origin.base
    job = compare(pull_request, base="nowhere")
    assert job.exit_code == 2
    assert "base nowhere: not in this clone, nor to be fetched" in job.log


@pytest.mark.parametrize(
    ("event", "inputs", "message"),
    [
        ("pull_request_target", {}, "not on pull_request_target: use pull_request"),
        ("push", {"comment": "yes"}, "comment: must be true or false"),
        ("push", {"time": "1"}, "time: must be true or false"),
        ("push", {"base": "--output=x"}, "base: must be a revision"),
    ],
)
def test_wrong_inputs_are_refused_before_anything_is_installed(
    pull_request: PullRequest, event: str, inputs: dict[str, str], message: str
) -> None:
    pull_request.program("python3", "exit 9")
    job = compare(pull_request, Event(event, {}), install="attnprof", **inputs)
    assert job.exit_code == 2
    assert f"::error title=attnprof::{message}" in job.log
    assert not (pull_request.folder / "words").exists()


# --- installing and comparing ---------------------------------------------------------------------


@pytest.mark.parametrize("requirement", ["", "attnprof==0.1.0"])
def test_pip_installs_the_actions_own_checkout_unless_told_otherwise(
    pull_request: PullRequest, requirement: str
) -> None:
    pull_request.program("python3", f'printf "%s\\n" "$@" >"{pull_request.folder}/pip"')
    assert compare(pull_request, install=requirement).exit_code == 0
    *pip, what = (pull_request.folder / "pip").read_text().splitlines()
    assert pip == ["-m", "pip", "install", "--disable-pip-version-check", "--"]
    if requirement:
        assert what == requirement
    else:
        project = tomllib.loads((Path(what) / "pyproject.toml").read_text())
        assert project["project"]["name"] == "attnprof"


def test_inputs_reach_attnprof_as_they_are(pull_request: PullRequest) -> None:
    folder = pull_request.clone(pull_request.origin.merge) / "my $(touch pwned) project"
    folder.mkdir()
    config = "more `touch pwned` contracts.toml"
    job = compare(pull_request, config=config, time="true", **{"working-directory": folder.name})
    assert job.exit_code == 0
    assert pull_request.words[3:] == ["--format", "markdown", "--config", config, "--time"]
    assert not list(pull_request.folder.rglob("pwned"))


@pytest.mark.parametrize(
    ("exit_code", "verdict"), [(1, "broken"), (2, "misconfigured"), (3, "not measured")]
)
def test_the_exit_code_is_attnprofs_once_the_comment_is_there(
    pull_request: PullRequest, exit_code: int, verdict: str
) -> None:
    pull_request.attnprof(exit_code)
    job = compare(pull_request, comment="true")
    assert job.exit_code == exit_code
    assert (job.outputs["exit-code"], job.outputs["verdict"]) == (str(exit_code), verdict)
    assert Path(job.outputs["report"]).read_text() == REPORT
    assert len(own_comments(pull_request)) == 1


def test_without_a_report_the_last_message_takes_its_place(pull_request: PullRequest) -> None:
    pull_request.program("attnprof", 'printf "1 s so far\\n--x 5%%: unknown\\n" >&2; exit 2')
    job = compare(pull_request, comment="true")
    assert (job.exit_code, job.outputs["verdict"]) == (2, "misconfigured")
    assert "::error title=attnprof guard diff::--x 5%25: unknown\n" in job.log
    (comment,) = own_comments(pull_request)
    assert comment.splitlines()[1] == "**attnprof guard diff**: misconfigured: --x 5%: unknown"


def test_a_hostile_branch_name_is_only_a_name(tmp_path: Path) -> None:
    branch = "$(touch${IFS}pwned)"
    (tmp_path / "origin").mkdir()
    pull_request = PullRequest(tmp_path, Repository(tmp_path / "origin", branch))
    job = compare(pull_request, base=branch, comment="true")
    assert (job.exit_code, pull_request.words[2]) == (0, pull_request.origin.head), job.log
    assert not list(tmp_path.rglob("pwned"))


# --- the comment ----------------------------------------------------------------------------------


def test_the_first_comment_is_posted_and_then_updated(pull_request: PullRequest) -> None:
    others = [{"id": n, "user": {"login": "someone"}, "body": REPORT} for n in range(1, 101)]
    pull_request.github(comments=[*others, {"id": 200, "user": None, "body": REPORT}])
    job = compare(pull_request, comment="true")
    assert f"commented on #{NUMBER}" in job.log
    source = "https://github.com/owner/project/actions/runs/42"
    text = f"{REPORT}\n<sub>commit {pull_request.origin.head[:10]}, [log]({source})</sub>\n"
    assert own_comments(pull_request) == [text]
    pull_request.attnprof(1, f'{MARKER}\nbroken with `ticks` and "quotes" $(touch pwned)\n')
    job = compare(pull_request, comment="true")
    assert (job.exit_code, f"updated the comment on #{NUMBER}" in job.log) == (1, True)
    (comment,) = own_comments(pull_request)
    assert 'broken with `ticks` and "quotes" $(touch pwned)' in comment
    assert [c["body"] for c in pull_request.comments[:101]] == [REPORT] * 101
    writes = [call.partition("?")[0] for call in pull_request.calls if "GET" not in call]
    assert [write for write in writes if "graphql" not in write] == [
        f"POST repos/owner/project/issues/{NUMBER}/comments",
        "PATCH repos/owner/project/issues/comments/1000",
    ]


def test_without_permission_to_comment_the_verdict_stays(pull_request: PullRequest) -> None:
    pull_request.github(is_read_only=True)
    job = compare(pull_request, comment="true")
    assert job.exit_code == 0
    assert "::warning title=attnprof::no comment: gh: Resource not accessible" in job.log
    assert "permissions: pull-requests: write, which a pull request from a fork" in job.log


def test_only_a_pull_request_is_commented_on_and_only_if_asked(pull_request: PullRequest) -> None:
    assert compare(pull_request).outcomes["Comment"] == "skipped"
    push = Event("push", {"before": pull_request.origin.base})
    assert compare(pull_request, push, comment="true").outcomes["Comment"] == "skipped"
    assert pull_request.calls == []


def test_clone_is_left_as_it_was(pull_request: PullRequest) -> None:
    clone = pull_request.clone(pull_request.origin.merge)
    compare(pull_request, comment="true")
    assert git(clone, "status", "--porcelain") == ""
    assert git(clone, "rev-parse", "HEAD") == pull_request.origin.merge
    assert git(clone, "for-each-ref") == ""


# --- with attnprof itself -------------------------------------------------------------------------


def test_attnprof_has_the_options_that_the_action_passes() -> None:
    shown = attnprof("guard", "diff", "--help").stdout
    assert {"--config", "--format", "--time"} <= set(re.findall(r"--[a-z]+", shown))


CONTRACT = """\
[guard.projection]
target = "subject:build"
len = [64, 128]
input = "input=batch,len,64"
"""
MODULE = "from torch import nn\n\n\ndef build():\n    return nn.Linear(64, {out})\n"


def test_what_attnprof_measures_is_commented_and_decides(tmp_path: Path) -> None:
    (tmp_path / "origin").mkdir()
    first = {"attnprof.toml": CONTRACT, "subject.py": MODULE.format(out=64)}
    origin = Repository(
        tmp_path / "origin", first=first, change={"subject.py": MODULE.format(out=96)}
    )
    pull_request = PullRequest(tmp_path, origin)
    pull_request.program("attnprof", f'exec "{BIN}/attnprof" "$@"')
    job = compare(pull_request, comment="true")
    assert (job.exit_code, job.outputs["verdict"]) == (1, "broken"), job.log
    assert "::error file=attnprof.toml,line=1,title=attnprof guard%3A projection::" in job.log
    report = Path(job.outputs["report"]).read_text()
    assert report.startswith(f"{MARKER}\n**attnprof guard diff**: ")
    assert "MACs rose at every length" in report
    assert report in (pull_request.temp / "summary.md").read_text()
    shown = report.removeprefix(f"{MARKER}\n").replace(origin.base[:7], "de745b1")
    assert shown in (ACTION / "README.md").read_text()
    (comment,) = own_comments(pull_request)
    assert comment.partition("\n\n<sub>")[0] == report.rstrip()
