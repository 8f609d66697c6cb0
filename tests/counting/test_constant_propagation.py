"""Numbers that follow from constants, against those of real tensors; and what stays unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException

from attnprof.counting.constant_propagation import MAX_NUMBERS, constant_value
from attnprof.counting.fake_tensors import fake_mode


def _mask() -> Tensor:
    mask = torch.zeros(2, 9)
    mask[:, [0, 4]] = 1
    mask[1, 6:].fill_(-1)
    return mask


DETERMINED: dict[str, Callable[[], Tensor]] = {
    "written by index, by view": _mask,
    "positions of marks": lambda: torch.stack(_mask().gt(0).nonzero(as_tuple=True)),
    "chosen by a mask": lambda: torch.arange(18).view(2, 9)[_mask() > 0],
    "written by a mask": lambda: torch.ones(2, 9).masked_fill(_mask() < 0, 7),
    "a shape from a number": lambda: torch.ones(int(_mask().gt(0).sum()), 2),
    "like an unknown": lambda: torch.zeros_like(torch.rand(3, 4)),
    "new from an unknown": lambda: torch.rand(3).new_ones(2, 2),
    "counted, sorted, repeated": lambda: torch.arange(4).repeat_interleave(
        torch.tensor([0, 2, 1, 3])
    ),
    "tokens, drawn from a seed": lambda: torch.randint(
        0, 9, (2, 5), generator=torch.Generator().manual_seed(3)
    ),
    "triangle": lambda: torch.ones(4, 4, dtype=torch.bool).tril(),
}


@pytest.mark.parametrize("make", DETERMINED.values(), ids=DETERMINED.keys())
def test_what_follows_from_constants_is_known(make: Callable[[], Tensor]) -> None:
    with fake_mode():
        made = make()
        known = constant_value(made)
    assert known is not None
    assert made.shape == known.shape
    assert torch.equal(known, make())


UNKNOWN: dict[str, Callable[[], Tensor]] = {
    "random": lambda: torch.rand(3),
    "uninitialised": lambda: torch.empty(3),
    "a constant that a random number was written to": lambda: torch.zeros(3).copy_(torch.rand(3)),
    "drawn in place": lambda: torch.zeros(3).uniform_(),
    "a product": lambda: torch.ones(3, 3) @ torch.ones(3, 3),
    "from both": lambda: torch.ones(3) + torch.rand(3),
}


@pytest.mark.parametrize("make", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_the_rest_is_not(make: Callable[[], Tensor]) -> None:
    with fake_mode():
        assert constant_value(make()) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_module_whose_numbers_are_known_can_be_moved_to_another_type(dtype: torch.dtype) -> None:
    """Torch swaps its parameters, and refuses where something refers to them weakly."""
    norm = nn.Module()
    with fake_mode():
        norm.weight = nn.Parameter(torch.ones(4))
        assert constant_value(norm.weight) is not None
        norm.to(dtype)
        assert norm.weight.dtype == dtype
        known = constant_value(norm.weight)
        assert known is None or known.dtype == dtype


def test_views_of_what_was_overwritten_are_forgotten() -> None:
    with fake_mode():
        base = torch.zeros(4, 4)
        row = base[1]
        assert constant_value(row) is not None
        base[:, 0] = torch.rand(4)
        assert constant_value(row) is None
        assert constant_value(base) is None


def test_large_tensors_stay_unknown_and_take_no_memory() -> None:
    with fake_mode():
        large = torch.zeros(2 * MAX_NUMBERS)
        assert constant_value(large) is None
        assert constant_value(large[:8]) is None
        with pytest.raises(DynamicOutputShapeException):
            large.nonzero()


@given(marks=st.lists(st.booleans(), min_size=1, max_size=40), shift=st.integers(-3, 3))
def test_any_chain_of_masks_and_positions(marks: list[bool], shift: int) -> None:
    def make() -> Tensor:
        mask = torch.tensor(marks)
        positions = mask.nonzero().flatten()
        moved = (positions + shift).clamp(0, len(marks) - 1)
        counts = torch.zeros(len(marks), dtype=torch.int64).index_add(
            0, moved, torch.ones_like(moved)
        )
        return counts.cumsum(0)

    with fake_mode():
        known = constant_value(make())
    assert known is not None
    assert torch.equal(known, make())
