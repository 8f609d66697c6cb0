"""A diff as JSON, for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from attnprof.guard.diff import Diff, Difference
from attnprof.guard.measurement import Cell
from attnprof.guard.reports.json_report import plain_result
from attnprof.guard.revisions import Revision


def render(diff: Diff) -> str:
    """Both revisions, and every contract with verdict, costs at both and breaches."""
    content = {
        "exit_code": diff.exit_code,
        "seconds": round(diff.seconds, 3),
        "base": _plain_revision(diff.base),
        "head": _plain_revision(diff.head),
        "notes": list(diff.notes),
        "contracts": [_plain(each) for each in diff.differences],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _plain(difference: Difference) -> dict[str, Any]:
    return {
        "verdict": difference.word,
        **plain_result(difference.result),
        "changes": list(difference.changes),
        "base": _cells(difference.base),
        "head": _cells(difference.head),
        "where": list(difference.where),
        "time": None if difference.time is None else asdict(difference.time),
    }


def _cells(cells: Mapping[int, Cell]) -> dict[str, Any]:
    return {str(seq_len): asdict(cell) for seq_len, cell in cells.items()}


def _plain_revision(revision: Revision) -> dict[str, Any]:
    return {
        "name": revision.name,
        "commit": revision.commit,
        "is_working_tree": revision.is_checkout,
    }
