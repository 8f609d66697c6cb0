"""`sliding_window_attention`: strides, padding, extreme scores, derivatives and dropout."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from attention_reference import reference_attention
from sliding_window_cases import Case, error, gradients, normal
from torch import Tensor

from attnprof import sliding_window_attention


@pytest.mark.parametrize("dropout_p", [0.0, 0.3], ids=["", "dropout"])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize(
    "layout",
    [
        lambda t: torch.stack([t, t + 1], dim=-1).flatten(3)[..., ::2],
        lambda t: t.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
        lambda t: torch.cat([t, t], dim=2)[:, :, 90:],
        lambda t: t[..., :1].expand_as(t),
        lambda t: t[:, :, :1].expand_as(t),
        lambda t: t[:1, :1].expand_as(t),
    ],
    ids=["gaps", "transposed", "offset", "one column", "one row", "one head"],
)
def test_strides_make_no_difference(layout: Any, dilation: int, dropout_p: float) -> None:
    case = Case((2, 3, 90, 32), 16, (1, 1, dilation), ((0,), (4, 80)), None, True, False)
    tensors = [layout(tensor.detach()) for tensor in case.tensors()]
    grad_output = layout(normal(*case.shape, seed=99))

    def both(copied: Any) -> list[Tensor]:
        torch.manual_seed(0)
        inputs = [copied(tensor).requires_grad_() for tensor in tensors]
        output = case.attend(inputs, dropout_p=dropout_p)
        return [output, *torch.autograd.grad(output, inputs, copied(grad_output))]

    for ours, theirs in zip(both(Tensor.detach), both(Tensor.contiguous), strict=True):
        assert error(ours, theirs) < 1e-13


def test_keys_shared_by_heads_get_the_sum_of_gradients() -> None:
    query, key, value = (normal(1, heads, 50, 16, seed=heads) for heads in (4, 1, 1))
    shared = key.requires_grad_()
    output = sliding_window_attention(
        query, shared.expand(-1, 4, -1, -1), value.expand(-1, 4, -1, -1), window=10
    )
    expected = reference_attention(
        query,
        shared.expand(-1, 4, -1, -1),
        value.expand(-1, 4, -1, -1),
        window=10,
        positions=[()],
    )
    ours, theirs = (
        torch.autograd.grad(out.square().sum(), [shared])[0] for out in (output, expected)
    )
    assert error(ours, theirs) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_query_without_a_key_gives_zero_and_zero_gradients(dtype: torch.dtype) -> None:
    """All keys of its window are padded; or the complete sequence is, global tokens included."""
    padded = torch.zeros(2, 300, dtype=torch.bool)
    padded[0, 100:] = True
    padded[1] = True
    case = Case((2, 2, 300, 16), 20, (1, 3), ((), (5,)), padded, False, True)
    tensors = case.tensors(dtype)
    output = case.attend(tensors)
    assert not output[0, 0, 110:].any()
    assert not output[0, 1, 130:].any()
    assert output[0, 0, :110].abs().sum(-1).all()
    assert not output[1].any()
    for gradient in gradients(output, tensors):
        assert gradient is not None
        assert bool(torch.isfinite(gradient).all())
        assert not gradient[1].any()
        assert not gradient[0, 0, 110:].any()


def test_the_values_of_padded_keys_make_no_difference() -> None:
    padded = torch.arange(120).expand(2, 120) >= torch.tensor([[70], [120]])
    case = Case((2, 2, 120, 16), 30, (1, 2), ((0,), (3,)), padded, True, True)
    tensors = [tensor.detach() for tensor in case.tensors(torch.float32)]
    expected = case.attend(tensors)
    for extreme in (1e30, -1e30):
        changed = [tensor.clone() for tensor in tensors]
        for index in (1, 2, 4, 5):
            changed[index][0, :, 70:] = extreme
        output = case.attend(changed)
        assert torch.equal(output[0, :, :70], expected[0, :, :70])
        assert torch.equal(output[1], expected[1])


@pytest.mark.parametrize("size", [0.0, 1e-20, 100.0, 1e4])
def test_scores_of_any_size(size: float) -> None:
    case = Case((1, 2, 200, 16), 40, (1, 2), ((0, 90),), None, False, True, scale=size)
    tensors = case.tensors()
    output, expected = case.attend(tensors), case.expected(tensors)
    assert error(output, expected) < 1e-10
    for ours, theirs in zip(gradients(output, tensors), gradients(expected, tensors), strict=True):
        assert ours is not None
        assert theirs is not None
        assert error(ours, theirs) < 1e-9 * max(1.0, size)


def test_sequences_of_a_batch_are_independent() -> None:
    case = Case((3, 2, 80, 16), 12, (1, 5), ((), (0, 7), (79,)), None, True, True)
    tensors = case.tensors()
    whole = case.attend(tensors)
    for item in range(3):
        alone = case.attend(
            [tensor[item : item + 1] for tensor in tensors],
            global_positions=[case.positions[item]],
        )
        assert error(alone, whole[item : item + 1]) < 1e-14


def test_the_same_call_gives_the_same_bits_and_changes_no_input() -> None:
    padded = torch.arange(500).expand(2, 500) >= 480
    case = Case((2, 2, 500, 32), 64, (1, 2), ((0,), (9, 20)), padded, True, True)
    tensors = case.tensors(torch.float32)
    before = [tensor.detach().clone() for tensor in tensors]
    state = torch.get_rng_state()
    first, second = (case.attend(tensors) for _ in range(2))
    assert torch.equal(first, second)
    for once, again in zip(gradients(first, tensors), gradients(second, tensors), strict=True):
        assert once is not None
        assert again is not None
        assert torch.equal(once, again)
    assert all(torch.equal(*pair) for pair in zip(tensors, before, strict=True))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("shape", [(0, 2, 30, 16), (2, 2, 0, 16), (1, 2, 1, 16)], ids=str)
def test_empty_batches_and_sequences(shape: tuple[int, int, int, int]) -> None:
    case = Case(shape, 8, (1, 2), ((),) * shape[0], None, False, False)
    tensors = case.tensors()
    output = case.attend(tensors)
    assert output.shape == shape
    for gradient, tensor in zip(gradients(output, tensors), tensors, strict=True):
        assert gradient is not None
        assert gradient.shape == tensor.shape


def test_output_has_the_memory_layout_of_the_next_projections_input() -> None:
    case = Case((2, 3, 40, 16), 8, (1, 1, 1), ((0,), ()), None, False, False)
    output = case.attend(case.tensors())
    assert output.transpose(1, 2).is_contiguous()


SMALL = [
    Case((1, 2, 7, 3), 4, (1, 2), ((),), None, False, True),
    Case((2, 2, 9, 2), 4, (1, 3), ((0,), (2, 8)), None, True, False),
    Case(
        (1, 1, 8, 2), 2, (1,), ((4,),), torch.tensor([[0, 0, 1, 0, 0, 1, 1, 1]]).bool(), True, True
    ),
]


@pytest.mark.parametrize("dropout_p", [0.0, 0.4])
@pytest.mark.parametrize("case", SMALL, ids=["band", "globals", "padded"])
def test_gradcheck(case: Case, dropout_p: float) -> None:
    def attend(*tensors: Tensor) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(7)
            return case.attend(tensors, dropout_p=dropout_p)

    assert torch.autograd.gradcheck(attend, case.tensors())


def test_a_second_derivative_is_an_error_and_not_a_wrong_number() -> None:
    case = SMALL[0]
    tensors = case.tensors()
    for loss in (case.attend(tensors).sum(), case.attend(tensors).square().sum()):
        for first in torch.autograd.grad(loss, tensors, create_graph=True):
            with pytest.raises(RuntimeError, match="supports first derivatives only"):
                torch.autograd.grad(first.sum(), tensors)


def weights_with(dropout_p: float, seed: int = 0, seq_len: int = 400) -> Tensor:
    """The attention weights, `(seq_len, seq_len)`: the output with unit vectors as values."""
    query, key = (normal(1, 1, seq_len, seq_len, seed=s) * 0.1 for s in range(2))
    value = torch.eye(seq_len, dtype=torch.float64).view(1, 1, seq_len, seq_len)
    torch.manual_seed(seed)
    return sliding_window_attention(
        query, key, value, window=40, global_positions=[0, 200], dropout_p=dropout_p
    )[0, 0]


def test_dropout_drops_each_weight_independently_and_scales_the_others() -> None:
    kept, dropped = weights_with(0.0), weights_with(0.25)
    attended = kept > 0
    assert not dropped[~attended].any()
    survives = dropped[attended] > 0
    assert error(dropped[attended][survives], kept[attended][survives] / 0.75) < 1e-12
    count = int(attended.sum())
    five_sigma = 5 * (0.25 * 0.75 / count) ** 0.5
    assert abs(float(survives.double().mean()) - 0.75) < five_sigma
    rows = (dropped > 0).double().sum(1) / attended.sum(1)
    assert 0.3 < float(rows.min()) < float(rows.max()) < 1.0, "no row is dropped completely"


def test_dropout_depends_on_the_random_state() -> None:
    assert torch.equal(weights_with(0.5, seed=1), weights_with(0.5, seed=1))
    assert not torch.equal(weights_with(0.5, seed=1), weights_with(0.5, seed=2))


def test_dropout_of_everything_gives_zero() -> None:
    case = Case((1, 2, 50, 16), 8, (1, 2), ((0,),), None, False, True)
    tensors = case.tensors()
    output = case.attend(tensors, dropout_p=1.0)
    assert not output.any()
    for gradient in gradients(output, tensors):
        assert gradient is not None
        assert not gradient.any()
