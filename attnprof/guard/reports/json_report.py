"""The check as JSON, for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from attnprof.guard.check import Check
from attnprof.guard.results import Result


def render(check: Check) -> str:
    """Every contract with its status, breaches, notes and problem; costs are integers."""
    content = {
        "exit_code": check.exit_code,
        "seconds": round(check.seconds, 3),
        "contracts": [plain_result(result) for result in check.results],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def plain_result(result: Result) -> dict[str, Any]:
    """A result by the names of its attributes, without those that its status gives."""
    plain = {"status": result.status, **asdict(result)}
    for key in ("is_misconfigured", "is_undecided"):
        del plain[key]
    return plain
