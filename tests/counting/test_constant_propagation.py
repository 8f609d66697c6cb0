"""Values of fake tensors that follow from constants equal the real ones; the rest is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException

from attnprof.counting.constant_propagation import MAX_ELEMENTS, constant_value
from attnprof.counting.fake_tensors import fake_mode

TOO_LONG = 5000
"""Tokens of which a square mask has more elements than are computed."""


def _mask() -> Tensor:
    mask = torch.zeros(2, 9)
    mask[:, [0, 4]] = 1
    mask[1, 6:].fill_(-1)
    return mask


KNOWN: dict[str, Callable[[], Tensor]] = {
    "written by index and through a view": _mask,
    "positions of nonzero elements": lambda: torch.stack(_mask().gt(0).nonzero(as_tuple=True)),
    "selected by a mask": lambda: torch.arange(18).view(2, 9)[_mask() > 0],
    "filled by a mask": lambda: torch.ones(2, 9).masked_fill(_mask() < 0, 7),
    "a shape from a value": lambda: torch.ones(int(_mask().gt(0).sum()), 2),
    "like an unknown tensor": lambda: torch.zeros_like(torch.rand(3, 4)),
    "new from an unknown tensor": lambda: torch.rand(3).new_ones(2, 2),
    "repeated by counts": lambda: torch.arange(4).repeat_interleave(torch.tensor([0, 2, 1, 3])),
    "random tokens from a seed": lambda: torch.randint(
        0, 9, (2, 5), generator=torch.Generator().manual_seed(3)
    ),
    "triangle": lambda: torch.ones(4, 4, dtype=torch.bool).tril(),
}


@pytest.mark.parametrize("make", KNOWN.values(), ids=KNOWN.keys())
def test_values_that_follow_from_constants_are_known(make: Callable[[], Tensor]) -> None:
    with fake_mode():
        fake = make()
        known = constant_value(fake)
    assert known is not None
    assert fake.shape == known.shape
    assert torch.equal(known, make())


UNKNOWN: dict[str, Callable[[], Tensor]] = {
    "random": lambda: torch.rand(3),
    "uninitialised": lambda: torch.empty(3),
    "a constant overwritten with random values": lambda: torch.zeros(3).copy_(torch.rand(3)),
    "random in place": lambda: torch.zeros(3).uniform_(),
    "a product": lambda: torch.ones(3, 3) @ torch.ones(3, 3),
    "from a constant and a random tensor": lambda: torch.ones(3) + torch.rand(3),
}


@pytest.mark.parametrize("make", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_values_that_do_not_follow_from_constants_are_unknown(make: Callable[[], Tensor]) -> None:
    with fake_mode():
        assert constant_value(make()) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_module_whose_values_are_known_can_be_moved_to_another_type(dtype: torch.dtype) -> None:
    """torch swaps its parameters, and refuses if there are weak references to them."""
    norm = nn.Module()
    with fake_mode():
        norm.weight = nn.Parameter(torch.ones(4))
        assert constant_value(norm.weight) is not None
        norm.to(dtype)
        assert norm.weight.dtype == dtype
        known = constant_value(norm.weight)
        assert known is None or known.dtype == dtype


def test_views_of_an_overwritten_tensor_are_unknown() -> None:
    with fake_mode():
        base = torch.zeros(4, 4)
        row = base[1]
        assert constant_value(row) is not None
        base[:, 0] = torch.rand(4)
        assert constant_value(row) is None
        assert constant_value(base) is None


def test_large_tensors_stay_unknown_and_take_no_memory() -> None:
    with fake_mode():
        large = torch.zeros(2 * MAX_ELEMENTS)
        assert constant_value(large) is None
        assert constant_value(large[:8]) is None
        with pytest.raises(DynamicOutputShapeException):
            large.nonzero()


def test_a_large_mask_that_repeats_a_row_is_known() -> None:
    n = TOO_LONG
    assert n * n > MAX_ELEMENTS

    def first_and_last_row(size: int) -> Tensor:
        mask = torch.zeros(1, size)
        mask[:, 7:] = 1
        rows = mask[:, None].expand(1, size, size).to(torch.float64)
        rows = (1.0 - rows).masked_fill(rows > 0, -5.0) * torch.tensor(2.0)
        return rows[:, [0, -1]] if size < n else torch.stack([rows[:, 0], rows[:, -1]], 1)

    with fake_mode():
        known = constant_value(first_and_last_row(n))
        square = torch.arange(n)[:, None] + torch.arange(n)
        assert constant_value(square) is None
        assert constant_value(torch.ones(1, n).expand(n, n).sum()) is None
    assert known is not None
    assert torch.equal(known[..., :30], first_and_last_row(30))


def _square_mask(size: int) -> Tensor:
    """Who attends to whom, as transformers makes it of padding, `(1, 1, size, size)`."""
    is_token = (torch.arange(size) < size - 3)[None, None, None]
    mask = torch.arange(size)[:, None].ge(2)[None, None] & is_token
    return torch.where(mask, torch.zeros(()), torch.tensor(-7.0))


PARTS: dict[str, Callable[[Tensor], Tensor]] = {
    "a row": lambda mask: mask[:, 0, 2, :],
    "the end of a column": lambda mask: mask[0, 0, -30:, -1],
    "some of a transposed tensor": lambda mask: mask.mT.expand(2, 1, -1, -1)[1, :, -5:, :3],
}


@pytest.mark.parametrize("part_of", PARTS.values(), ids=PARTS.keys())
def test_parts_of_a_mask_that_is_too_large_are_known(part_of: Callable[[Tensor], Tensor]) -> None:
    with fake_mode():
        mask = _square_mask(TOO_LONG)
        known = constant_value(part_of(mask))
        assert constant_value(mask) is None
    assert known is not None
    assert torch.equal(known, part_of(_square_mask(TOO_LONG)))


def test_a_part_of_a_large_mask_is_known_until_another_part_is_written_to() -> None:
    with fake_mode():
        mask = _square_mask(TOO_LONG)
        first, second = mask[0, 0, 2], mask[0, 0, 3]
        first[torch.tensor([0, 1])] = 5.0
        assert constant_value(second) is None
        assert constant_value(mask[0, 0, 2]) is None
        known = constant_value(first[:3])
        assert known is not None
        assert known.tolist() == [5, 5, 0]
        mask.fill_(1)
        assert constant_value(first) is None
        assert constant_value(first[:3]) is None


@given(marks=st.lists(st.booleans(), min_size=1, max_size=40), shift=st.integers(-3, 3))
def test_values_computed_from_masks_and_positions_are_those_of_real_tensors(
    marks: list[bool], shift: int
) -> None:
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
