"""Rows of attention that are cut off or multiplied by 0: their pairs are not needed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from attnprof.counting.attention.tracing import attention_calls
from attnprof.counting.fake_tensors import fake_mode

HEADS, N, DIM = 2, 9, 4
KEPT = 6
ROW = HEADS * N
"""Pairs of a query."""


def _attended(use: Callable[[Tensor], object]) -> int | None:
    """Pairs that are needed of attention whose output, `(N, HEADS * DIM)`, is used in some way."""

    def attend() -> Tensor:
        heads = torch.randn(HEADS, N, DIM)
        output = (heads @ heads.mT).softmax(-1) @ torch.randn(HEADS, N, DIM)
        return output.transpose(0, 1).reshape(N, HEADS * DIM)

    def run() -> object:
        used = use(attend())
        return used, torch.zeros(1) + 1  # the caller may get what is alive here

    with fake_mode(), torch.no_grad():
        (call,) = attention_calls(run).calls
    assert call.executed_pairs == ROW * N
    return call.attended_pairs


def _project(rows: Tensor) -> Tensor:
    return torch.nn.functional.linear(rows, torch.nn.Parameter(torch.randn(3, HEADS * DIM)))


def _is_kept() -> Tensor:
    return (torch.arange(N) < KEPT).float()[:, None]


LOST: dict[str, Callable[[Tensor], object]] = {
    "cut off": lambda rows: _project(rows[:KEPT]),
    "cut off by padding": lambda rows: _project(torch.nn.functional.pad(rows, (0, 0, 2, KEPT - N))),
    "multiplied by 0": lambda rows: _project(rows * _is_kept()),
    "multiplied by 0 in place": lambda rows: _project(rows.mul_(_is_kept())),
    "joined, then cut off": lambda rows: _project(torch.cat([torch.randn(2, 8), rows])[: 2 + KEPT]),
    "read in parts": lambda rows: [_project(rows[:2]), _project(rows[2:KEPT])],
}


@pytest.mark.parametrize("use", LOST.values(), ids=LOST)
def test_rows_that_nothing_reads_are_not_needed(use: Callable[[Tensor], object]) -> None:
    assert _attended(use) == ROW * KEPT


READ: dict[str, Callable[[Tensor], object]] = {
    "all at once": _project,
    "in parts": lambda rows: [_project(rows[:KEPT]), _project(rows[KEPT:])],
    "by another operator": lambda rows: [_project(rows[:KEPT]), rows.sum()],
    "by the caller": lambda rows: [_project(rows[:KEPT]), rows],
    "by the caller, after a sum of them": lambda rows: (_project(rows[:KEPT]), rows + rows.flip(0)),
    "mixed": lambda rows: _project((rows + rows.flip(0))[:KEPT]),
    "scaled": lambda rows: _project(rows * (_is_kept() + 1)),
    "not followed": lambda rows: _project(rows.as_strided((4, 8), (8, 1))[:2]),
}


@pytest.mark.parametrize("use", READ.values(), ids=READ)
def test_rows_that_something_reads_are_needed(use: Callable[[Tensor], object]) -> None:
    assert _attended(use) == ROW * N


def test_rows_are_told_apart_in_types_of_few_digits() -> None:
    """Their numbers are no values of the type: bfloat16 has no odd number beyond 256."""

    def attend() -> Tensor:
        heads = torch.randn(1, 601, DIM, dtype=torch.bfloat16)
        output = ((heads @ heads.mT).softmax(-1) @ heads)[0]
        joined = torch.cat([torch.zeros(1, DIM, dtype=torch.bfloat16), output])
        return joined[:302] @ torch.nn.Parameter(heads[0, :DIM])

    def run() -> object:
        return attend() + 1

    with fake_mode(), torch.no_grad():
        (call,) = attention_calls(run).calls
    assert call.attended_pairs == 301 * 601
