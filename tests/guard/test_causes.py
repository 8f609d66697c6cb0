"""Likely causes of a change, from parts alone."""

from __future__ import annotations

import pytest

from attnprof.guard.causes import explain
from attnprof.guard.changes import Comparison
from attnprof.guard.lockfile import Entry
from attnprof.guard.measurement import Cell, ContractCosts

PART = "attention aten.bmm"


@pytest.mark.parametrize(("lengths", "is_explained"), [([512], False), ([512, 1024], True)])
def test_one_factor_needs_several_lengths(lengths: list[int], *, is_explained: bool) -> None:
    before = {n: 1000 * n for n in lengths}
    measured = ContractCosts(
        cells={n: Cell(2000 * n, 0, 0) for n in lengths},
        macs={PART: {n: 2000 * n for n in lengths}},
        calls={PART: dict.fromkeys(lengths, 2)},
    )
    entry = Entry(
        subject={"len": lengths},
        versions={},
        growth={},
        cells={str(n): Cell(macs, 0, 0) for n, macs in before.items()},
        macs={PART: tuple(before.values())},
        calls={PART: (2,) * len(lengths)},
        bytes={},
        params={},
        uncounted={},
    )
    causes = " ".join(explain(Comparison(entry, measured)))
    assert ("executes 2x" in causes) is is_explained
