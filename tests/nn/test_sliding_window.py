"""`sliding_window_attention` against dense attention under the enumerated mask."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from sliding_window_cases import LONG, Case, cases, error, gradients, normal

from attnprof import sliding_window_attention


@given(cases())
def test_output_and_gradients_are_those_of_dense_attention_under_the_mask(case: Case) -> None:
    tensors = case.tensors()
    output, expected = case.attend(tensors), case.expected(tensors)
    assert error(output, expected) < 1e-12
    for ours, theirs, tensor in zip(
        gradients(output, tensors), gradients(expected, tensors), tensors, strict=True
    ):
        zero = torch.zeros_like(tensor)
        assert error(zero if ours is None else ours, zero if theirs is None else theirs) < 1e-11


@given(cases())
@settings(max_examples=60)
def test_without_gradients_the_output_is_the_same(case: Case) -> None:
    tensors = case.tensors()
    with torch.no_grad():
        output = case.attend(tensors)
    assert not output.requires_grad
    assert torch.equal(output, case.attend(tensors))


@pytest.mark.parametrize("case", LONG, ids=lambda case: f"n{case.shape[2]}_w{case.window}")
@pytest.mark.parametrize(
    ("dtype", "limit"),
    [
        (torch.float64, 1e-12),
        (torch.float32, 1e-5),
        (torch.bfloat16, 0.03),
        (torch.float16, 0.004),
    ],
    ids=str,
)
def test_many_tiles_in_every_dtype(case: Case, dtype: torch.dtype, limit: float) -> None:
    tensors = case.tensors(dtype)
    # The reference has the rounded inputs, so the error is that of the computation alone.
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    output, expected = case.attend(tensors), case.expected(exact)
    assert output.dtype == dtype
    assert error(output, expected) < limit
    for ours, theirs in zip(gradients(output, tensors), gradients(expected, exact), strict=True):
        if theirs is not None:
            assert ours is not None
            assert ours.dtype == dtype
            assert error(ours, theirs) < limit * max(1.0, float(theirs.abs().max()))


def test_a_window_of_the_whole_sequence_is_dense_attention() -> None:
    query, key, value = (normal(2, 3, 37, 16, seed=seed) for seed in range(3))
    dense = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    for window in (72, 74, 4096):
        assert error(sliding_window_attention(query, key, value, window=window), dense) < 1e-13
    all_global = sliding_window_attention(
        query, key, value, window=2, global_positions=list(range(37))
    )
    assert error(all_global, dense) < 1e-13


@pytest.mark.parametrize(
    "form", ["positions", "positions per sequence", "mask", "mask per sequence", "any order"]
)
def test_all_forms_of_global_positions_are_equivalent(form: str) -> None:
    positions = (3, 17, 40)
    case = Case((2, 2, 61, 16), 8, (1, 2), (positions, positions), None, True, True)
    tensors = case.tensors()
    is_global = torch.zeros(61, dtype=torch.bool)
    is_global[list(positions)] = True
    forms: dict[str, Any] = {
        "positions": list(positions),
        "positions per sequence": [list(positions), list(positions)],
        "mask": is_global,
        "mask per sequence": is_global.expand(2, 61),
        "any order": [40, 3, 17],
    }
    output = case.attend(tensors, global_positions=forms[form])
    assert torch.equal(output, case.attend(tensors))


def test_global_queries_may_be_the_rows_of_global_tokens_only() -> None:
    case = Case((2, 2, 61, 16), 8, (1, 1), ((3, 17, 40), (9,)), None, True, True)
    tensors = case.tensors()
    rows = torch.zeros(2, 2, 3, 16, dtype=torch.float64)
    rows[0] = tensors[3][0, :, [3, 17, 40]]
    rows[1, :, :1] = tensors[3][1, :, [9]]
    rows.requires_grad_()
    output = case.attend(tensors, global_query=rows)
    assert error(output, case.attend(tensors)) < 1e-14
    (of_rows,) = torch.autograd.grad(output.square().sum(), [rows], retain_graph=True)
    whole = torch.autograd.grad(case.attend(tensors).square().sum(), [tensors[3]])[0]
    assert error(of_rows[0], whole[0][:, [3, 17, 40]]) < 1e-13
    assert error(of_rows[1, :, :1], whole[1][:, [9]]) < 1e-13
    assert not of_rows[1, :, 1:].any()


def test_projections_of_global_tokens_are_ignored_without_global_tokens() -> None:
    case = Case((1, 2, 40, 16), 8, (1, 1), ((),), None, True, True)
    tensors = case.tensors()
    assert torch.equal(case.attend(tensors), case.attend(tensors[:3]))
    assert gradients(case.attend(tensors), tensors)[3:] == (None, None, None)
