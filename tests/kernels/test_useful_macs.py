"""Useful MACs of custom kernels, against the pairs that their masks are defined by."""

from __future__ import annotations

import pytest
from windowed import HEADS, WIDTH, WINDOW

import attnprof
from attnprof.core.result_table import Row

TOKENS, BATCH = 40, 2
PROJECTION = BATCH * TOKENS * 3 * WIDTH**2
PAIRS = sum(min(query + 1, WINDOW) for query in range(TOKENS))
"""Of one head."""


def row_of(name: str, **options: object) -> Row:
    kernel = f"windowed:{name}(x=batch,len,{WIDTH})"
    table = attnprof.estimate(
        kernel=kernel, len=TOKENS, batch_size=BATCH, no_isolation=True, **options
    )
    (row,) = table.rows
    return row


def attention(pairs: int) -> int:
    return BATCH * HEADS * pairs * 2 * (WIDTH // HEADS)


@pytest.mark.parametrize(
    ("name", "useful"),
    [
        ("Windowed", PROJECTION + attention(PAIRS)),
        ("Ignored", PROJECTION + attention(TOKENS**2)),
        ("Plain", BATCH * TOKENS * WIDTH**2),
    ],
)
@pytest.mark.parametrize(("mode", "passes"), [("inference", 1), ("training", 3)])
def test_they_are_all_but_what_masks_hide(name: str, useful: int, mode: str, passes: int) -> None:
    row = row_of(name, mode=mode)
    assert row.values["useful_macs"] == passes * useful
    assert row.values["executed_macs"] >= passes * useful
    assert not row.details


@pytest.mark.parametrize(
    ("name", "mode", "reason"),
    [
        ("FromData", "inference", "depends on data"),
        ("Frozen", "training", "not all of its products have the gradients of both inputs"),
    ],
)
def test_they_are_empty_with_the_reason_where_they_are_not_known(
    name: str, mode: str, reason: str
) -> None:
    row = row_of(name, mode=mode)
    assert "useful_macs" not in row.values
    assert row.values["executed_macs"] > 0
    assert row.status == "ok"
    (detail,) = row.details
    assert detail.startswith("useful_macs is empty: ")
    assert reason in detail
