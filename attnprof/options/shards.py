"""Deals groups of cases to the parts of a study that run on their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from attnprof import kernels
from attnprof.core.errors import UsageError
from attnprof.core.workload import Case

MAX_SHARDS = 10_000

_FORM = re.compile(r"(\d{1,9})/(\d{1,9})", re.ASCII)
_EXPECTED = "must be a part and their number, such as 2/8 for the second of eight"


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of several.

    Attributes:
        index: of the part, from 1.
        count: of all parts.
    """

    index: int
    count: int

    def __str__(self) -> str:
        """As on the command line, such as `2/8`."""
        return f"{self.index}/{self.count}"


WHOLE = Shard(1, 1)


def read_shard(text: str | None) -> Shard:
    """The shard that `--shard` names; all of the study for None.

    Raises:
        UsageError: for anything but a part of several.
    """
    if text is None:
        return WHOLE
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise UsageError("shard", text or "(empty)", _EXPECTED)
    index, count = int(match[1]), int(match[2])
    if not 1 <= count <= MAX_SHARDS:
        raise UsageError("shard", text, f"must be of 1 to {MAX_SHARDS:,} parts, such as 2/8")
    if not 1 <= index <= count:
        raise UsageError("shard", text, f"must be a part from 1 to {count}")
    return Shard(index, count)


def groups_of_shard(groups: Sequence[tuple[Case, ...]], shard: Shard) -> list[tuple[Case, ...]]:
    """The groups of one shard, in their order.

    Groups are dealt in turn, those with the most executed MACs first, so that each is in exactly
    one shard and shards are about as long. MACs are those of closed forms: the same on every
    machine, 0 for custom kernels.
    """
    if shard.count == 1:
        return list(groups)
    macs = [sum(map(_known_macs, group)) for group in groups]
    dealt = sorted(range(len(groups)), key=lambda index: (-macs[index], index))
    chosen = set(dealt[shard.index - 1 :: shard.count])
    return [group for index, group in enumerate(groups) if index in chosen]


def _known_macs(case: Case) -> int:
    if kernels.is_custom(case.kernel):
        return 0
    with suppress(Exception):  # a kernel has no closed form for what it does not support
        return kernels.find(case.kernel).executed_macs(case.workload)
    return 0
