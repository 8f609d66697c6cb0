"""Post a report of `attnprof guard diff` as the one comment on its pull request.

For a `workflow_run`, the report and the pull request's number come from an artifact that the code
of a pull request may have written. Nothing of it is executed; files are read only if they are small
and plain; the number is used only if that pull request's head is the commit that was run; and the
text can neither notify anyone nor contain links or HTML of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import stat
import subprocess
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARKER = "<!-- attnprof guard diff -->"
"""First line of a report; it finds the comment again."""

MAX_CHARACTERS = 65_536
"""GitHub's limit for a comment."""

COMMENTS_PER_PAGE = 100

ZERO_WIDTH_SPACE = "\u200b"

ACTIVE = re.compile(
    r"""
      @                                 # mentions, addresses
    | <(?!/?(?:details|summary)>|br>)   # HTML, autolinks
    | &(?=[\#\w])                       # entities, which may stand for any of the others
    | \#(?=\d) | \bGH(?=\\*-\d)         # references to issues
    | \](?=[(\[:])                      # links, images, definitions of links
    | :(?=\\*/) | \bwww(?=\\*\.)        # bare addresses, also with backslashes between
    | ^[ \t]*(?=/)                      # commands to other bots
    """,
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)
"""What GitHub makes more than text of, and attnprof's reports do without."""


class NotPostedError(Exception):
    """The reason why there is no comment."""


class OutdatedError(Exception):
    """The pull request has moved on: another run reports on it."""


@dataclass(frozen=True, slots=True)
class Run:
    """The workflow run that made the report."""

    repository: str
    pull_request: int
    head_sha: str
    url: str


def main() -> int:
    """Post or update the comment; say in one line what became of it."""
    parser = argparse.ArgumentParser(description="Post a report of attnprof guard diff.")
    parser.add_argument("folder", type=Path, help="folder with report.md and pull-request.txt")
    parser.add_argument("--failure", choices=["warning", "error"], required=True)
    options = parser.parse_args()
    try:
        run = find_run(options.folder)
        print(post(run, comment_on(run, read(options.folder / "report.md", MAX_CHARACTERS))))
    except OutdatedError as error:
        print(f"::notice title=attnprof::no comment: {error}")
    except NotPostedError as error:
        message = str(error).replace("%", "%25").replace("\r", " ").replace("\n", " ")
        print(f"::{options.failure} title=attnprof::no comment: {message}", file=sys.stderr)
        return int(options.failure == "error")
    return 0


def find_run(folder: Path) -> Run:
    """The run that made the report, from the event, which GitHub wrote, as far as possible."""
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    repository = os.environ["GITHUB_REPOSITORY"]
    if "pull_request" in event:
        pull_request = event["pull_request"]
        url = f"{os.environ['GITHUB_SERVER_URL']}/{repository}/actions/runs"
        run_url = f"{url}/{os.environ['GITHUB_RUN_ID']}"
        return Run(repository, pull_request["number"], pull_request["head"]["sha"], run_url)
    run = event.get("workflow_run", {})
    if run.get("event") != "pull_request":
        raise NotPostedError("the event is neither a pull_request nor a workflow_run of one")
    text = read(folder / "pull-request.txt", 20).strip()
    if not re.fullmatch(r"[1-9][0-9]{0,9}", text):
        raise NotPostedError("pull-request.txt is not a number")
    number = int(text)
    head = call(f"repos/{repository}/pulls/{number}")["head"]
    if (head["repo"] or {}).get("id") != run["head_repository"]["id"]:
        raise NotPostedError(f"the report is not of #{number}: that has another head repository")
    if head["sha"] != run["head_sha"]:
        raise OutdatedError(f"#{number} is not, or no longer, at commit {run['head_sha']}")
    return Run(repository, number, run["head_sha"], run["html_url"])


def read(path: Path, max_bytes: int) -> str:
    """The text of a plain file; a link could lead to secrets such as this process's token."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise NotPostedError(f"{path.name} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotPostedError(f"{path.name} is not a plain file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise NotPostedError(f"{path.name} has more than {max_bytes:,} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise NotPostedError(f"{path.name} is not UTF-8") from None


def comment_on(run: Run, report: str) -> str:
    """The comment: the report as mere text and tables, and where it comes from."""
    first_line, _, rest = report.partition("\n")
    if first_line.strip() != MARKER:
        raise NotPostedError("report.md does not begin as a report of attnprof guard diff")
    source = f"<sub>commit {run.head_sha[:10]}, [log]({run.url})</sub>"
    comment = f"{MARKER}\n{inert(rest).strip()}\n\n{source}\n"
    if len(comment) > MAX_CHARACTERS:
        raise NotPostedError(f"the comment would have more than {MAX_CHARACTERS:,} characters")
    return comment


def inert(text: str) -> str:
    """The text without control characters, and with a zero-width space in what GitHub acts upon."""
    shown = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cf"})
    named = shown.replace("&#64;", "@")  # as reports write it
    return ACTIVE.sub(lambda found: found[0] + ZERO_WIDTH_SPACE, named)


def post(run: Run, comment: str) -> str:
    """Update the comment of this token's user, or write the first one."""
    body = {"body": comment}
    previous = previous_comment(run)
    issues = f"repos/{run.repository}/issues"
    if previous is None:
        call(f"{issues}/{run.pull_request}/comments", "POST", body)
        return f"commented on #{run.pull_request}"
    call(f"{issues}/comments/{previous}", "PATCH", body)
    return f"updated the comment on #{run.pull_request}"


def previous_comment(run: Run) -> int | None:
    """The id of the comment to update; others may have copied the marker."""
    answer = call("graphql", "POST", {"query": "{ viewer { login } }"})
    user = answer["data"]["viewer"]["login"]
    page = 0
    while True:
        page += 1
        query = f"per_page={COMMENTS_PER_PAGE}&page={page}"
        comments = call(f"repos/{run.repository}/issues/{run.pull_request}/comments?{query}")
        for comment in comments:
            is_own = (comment["user"] or {}).get("login") == user
            if is_own and comment["body"].startswith(MARKER):
                return comment["id"]
        if len(comments) < COMMENTS_PER_PAGE:
            return None


def call(endpoint: str, method: str = "GET", body: dict[str, str] | None = None) -> Any:
    """GitHub's answer, by its command-line program."""
    command = ["gh", "api", endpoint, "--method", method]
    if body is not None:
        command += ["--input", "-"]
    try:
        done = subprocess.run(
            command,
            input=None if body is None else json.dumps(body),
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
    except FileNotFoundError:
        raise NotPostedError("gh, GitHub's command-line program, is not installed") from None
    if done.returncode:
        reason = done.stderr.strip() or f"gh ended with exit code {done.returncode}"
        if "HTTP 403" in reason:
            reason += "; the job needs permissions: pull-requests: write, which a pull request "
            reason += "from a fork never gets: see examples/guard/README.md"
        raise NotPostedError(reason)
    return json.loads(done.stdout)


if __name__ == "__main__":
    raise SystemExit(main())
