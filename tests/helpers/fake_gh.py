"""Stands in for GitHub's `gh api`: answers from a JSON file of pull requests and comments."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

BOT = "github-actions[bot]"
FORBIDDEN = "gh: Resource not accessible by integration (HTTP 403)"


def main() -> int:
    path = Path(os.environ["FAKE_GITHUB"])
    github = json.loads(path.read_text())
    assert os.environ["GH_TOKEN"] == "the-token"
    (_, endpoint, _, method, *rest) = sys.argv[1:]
    assert rest in ([], ["--input", "-"])
    body = json.load(sys.stdin) if rest else None
    github["calls"].append(f"{method} {endpoint}")
    is_write = method != "GET" and endpoint != "graphql"
    answer = None if is_write and github.get("is_read_only") else respond(github, endpoint, body)
    path.write_text(json.dumps(github))
    if answer is None:
        sys.stderr.write(f"{FORBIDDEN}\n")
        return 1
    sys.stdout.write(json.dumps(answer))
    return 0


def respond(github: dict[str, Any], endpoint: str, body: Any) -> Any:
    if endpoint == "graphql":
        assert "viewer" in body["query"]
        return {"data": {"viewer": {"login": BOT}}}
    comments = github["comments"]
    url = urlsplit(endpoint)
    kind, number, *rest = url.path.removeprefix("repos/owner/project/").split("/")
    if kind == "pulls" and not rest:
        return github["pulls"][number]
    if (kind, number) == ("issues", "comments"):
        (comment,) = [comment for comment in comments if str(comment["id"]) == rest[0]]
        comment.update(body)
        return comment
    assert (kind, rest) == ("issues", ["comments"]), endpoint
    if body:
        comments.append({"id": 1000, "user": {"login": BOT}, "body": body["body"], "on": number})
        return comments[-1]
    query = {name: int(values[0]) for name, values in parse_qs(url.query).items()}
    size, page = query["per_page"], query["page"]
    return comments[size * (page - 1) : size * page]


if __name__ == "__main__":
    raise SystemExit(main())
