"""The check as JSON, for programs."""

from __future__ import annotations

import json
from dataclasses import asdict

from attnprof.guard.check import Check


def render(check: Check) -> str:
    """Every contract with its status, breaches, notes and problem; costs are integers."""
    contracts = [{"status": result.status, **asdict(result)} for result in check.results]
    for contract in contracts:
        for key in ("is_misconfigured", "is_undecided"):  # given by the status
            del contract[key]
    content = {
        "exit_code": check.exit_code,
        "seconds": round(check.seconds, 3),
        "contracts": contracts,
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
