"""The case that a contract measures, at one length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast, get_args

from attnprof.core.errors import UsageError
from attnprof.core.workload import Case, Device
from attnprof.options import GridOptions, read_cases


def case_of(target: str, seq_len: int, options: Mapping[str, str | int]) -> Case:
    """The case of a target at one length.

    Raises:
        UsageError: when the target cannot be used, or an option does not fit it.
    """
    device = options.get("device", "cpu")
    if device not in get_args(Device):
        raise UsageError("device", device, "must be cpu or cuda")
    grid = cast("GridOptions", {"kernel": [target], "len": seq_len, **options})
    cases = read_cases(grid, cast("Device", device))
    if len(cases) != 1:
        raise UsageError("target", target, "must have one value for each option")
    return cases[0]


def key_of(error: UsageError, options: Mapping[str, str | int]) -> str:
    """The key of the contract that an error of an option is about."""
    if (
        error.argument == "kernel"
        and "input" in options
        and error.expected.startswith("has no argument")
    ):
        return "input"
    return {"kernel": "target", "seq_len": "len"}.get(error.argument, error.argument)
