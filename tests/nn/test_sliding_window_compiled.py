"""`sliding_window_attention`: GPU products, memory, `torch.compile`, fake tensors and errors."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from sliding_window_cases import LONG, Case, cases, error, gradients, normal
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from attnprof import AttentionPattern, sliding_window_attention
from attnprof.measure.peak_memory import measure_peak_bytes
from attnprof.nn.banded import attention, tile_kernels
from attnprof.nn.sliding_window import checked_band


@given(cases())
@settings(max_examples=60)
def test_products_as_on_a_gpu_equal_fused_attention(case: Case) -> None:
    tensors = [tensor.detach() for tensor in case.tensors()[:3]]
    grad_output = normal(*case.shape[:3], tensors[2].shape[3], seed=99)
    batch, heads, seq_len, head_dim = case.shape
    pattern = AttentionPattern.sliding(
        case.window, case.dilation, num_heads=heads, causal=case.causal
    )
    band = checked_band(batch, seq_len, pattern, case.positions)
    scale = case.scale or head_dim**-0.5

    def whole(
        query: Tensor, value: Tensor, dropout_p: float, scale: float
    ) -> tile_kernels.TileOperator:
        operator = tile_kernels.MatmulTiles(scale, dropout_p, query)
        operator._on_cpu = False
        return operator

    def both() -> list[Tensor]:
        output, sums = attention.forward(*tensors, None, case.padded, band, scale)
        return [
            output,
            *attention.backward(grad_output, *tensors, case.padded, band, scale, 0.0, output, sums),
        ]

    fused = both()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "operator_for", whole)
        products = both()
    for by_fused, by_products in zip(fused, products, strict=True):
        assert error(by_fused, by_products) < 1e-11


def test_peak_memory_is_linear_in_length_and_reproducible() -> None:
    def peak(seq_len: int) -> int:
        case = Case((1, 2, seq_len, 32), 64, (1, 4), ((0,),), None, False, True)
        tensors = case.tensors(torch.float32)
        measure = partial(
            measure_peak_bytes, lambda: gradients(case.attend(tensors), tensors), "cpu"
        )
        first = measure()
        assert measure() == first
        return first

    short, long = peak(4096), peak(8192)
    assert 1.5 < long / short < 2.05


@pytest.mark.parametrize(
    ("positions", "causal"),
    [((), False), ((0, 30), False), ((0, 30), True)],
    ids=["band", "globals", "causal, grouped heads"],
)
def test_compiles_without_graph_breaks_with_gradients(
    positions: tuple[int, ...], causal: bool
) -> None:
    padded = torch.arange(70).expand(2, 70) >= torch.tensor([[70], [50]])
    case = Case(
        *((2, 2, 70, 16), 12, (1, 3), (positions, positions), padded, bool(positions), True),
        causal=causal,
        kv_heads=1 if causal else 0,
        value_dim=24 if causal else 0,
    )
    tensors = case.tensors()
    compiled = torch.compile(lambda *t: case.attend(t), backend="aot_eager", fullgraph=True)
    output = compiled(*tensors)
    expected = case.attend(tensors)
    assert error(output, expected) < 1e-14
    for ours, theirs in zip(gradients(output, tensors), gradients(expected, tensors), strict=True):
        assert ours is not None
        assert theirs is not None
        assert error(ours, theirs) < 1e-13


def test_compiled_dropout_drops_the_same_weights_in_backward() -> None:
    case = Case((1, 2, 30, 8), 8, (1, 2), ((),), None, False, True)
    tensors = case.tensors()
    compiled = torch.compile(
        lambda *t: case.attend(t, dropout_p=0.5), backend="aot_eager", fullgraph=True
    )
    output = compiled(*tensors)
    # The output is linear in the values if forward and backward drop the same weights.
    (of_values,) = torch.autograd.grad(output.sum(), [tensors[2]])
    along_values = float((of_values * tensors[2].detach()).sum())
    assert along_values == pytest.approx(float(output.detach().sum()), rel=1e-12)


@pytest.mark.parametrize("kind", ["fake", "meta"])
def test_tensors_without_data_give_shapes(kind: str) -> None:
    def shapes(make: Any) -> None:
        tensors = [make(2, 4, 100, 16).requires_grad_() for _ in range(6)]
        case = Case((2, 4, 100, 16), 12, (1, 1, 2, 3), ((0,), (4, 5)), None, True, True)
        output = case.attend(tensors)
        assert output.shape == (2, 4, 100, 16)
        grouped = [tensors[0], *(make(2, 2, 100, width) for width in (16, 24))]
        causal = sliding_window_attention(*grouped, window=(9, 0), causal=True, enable_gqa=True)
        assert causal.shape == (2, 4, 100, 24)
        assert [g.shape for g in torch.autograd.grad(output.sum(), tensors)] == [
            (2, 4, 100, 16)
        ] * 6

    if kind == "meta":
        shapes(partial(torch.empty, device="meta"))
    else:
        with FakeTensorMode():
            shapes(torch.empty)


def test_signature_is_the_published_one() -> None:
    assert list(inspect.signature(sliding_window_attention).parameters) == [
        "query",
        "key",
        "value",
        "window",
        "causal",
        "enable_gqa",
        "dilation",
        "global_positions",
        "global_query",
        "global_key",
        "global_value",
        "key_padding_mask",
        "dropout_p",
        "scale",
        "implementation",
    ]


GOOD = torch.zeros(2, 4, 10, 8)


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("query", torch.zeros(4, 10, 8), "(batch, heads, seq_len, head_dim)"),
        ("query", GOOD.long(), "floating point"),
        ("key", torch.zeros(2, 4, 11, 8), "(2, 4, 10, 8)"),
        ("key", GOOD.double(), "float32"),
        ("key", torch.zeros(2, 2, 10, 8), "(2, 4, 10, 8)"),
        ("value", torch.zeros(2, 4, 9, 8), "(2, 4, 10, 8)"),
        ("window", 7, "even"),
        ("window", 0, "even"),
        ("window", 4.0, "even"),
        ("dilation", 0, "1"),
        ("dilation", (1, 2), "4"),
        ("global_positions", [10], "10 tokens"),
        ("global_positions", [-1], "0"),
        (
            "global_positions",
            [[0], [1], [2]],
            "of 3 sequences: must be of 2 sequences, as in the batch",
        ),
        ("global_positions", torch.tensor([0, 3]), "bool"),
        ("global_positions", torch.zeros(3, 10, dtype=torch.bool), "(2, 10)"),
        ("global_query", torch.zeros(2, 4, 3, 8), "(2, 4, 10, 8)"),
        ("global_key", torch.zeros(2, 4, 1, 8), "(2, 4, 10, 8)"),
        ("global_value", GOOD.double(), "float32"),
        ("key_padding_mask", torch.zeros(2, 10), "bool"),
        ("key_padding_mask", torch.zeros(10, dtype=torch.bool), "(2, 10)"),
        ("dropout_p", 1.5, "0 to 1"),
        ("dropout_p", -0.1, "0 to 1"),
    ],
)
def test_errors_name_the_argument_and_what_would_be_valid(
    argument: str, value: Any, expected: str
) -> None:
    arguments: dict[str, Any] = {
        "query": GOOD,
        "key": GOOD,
        "value": GOOD,
        "window": 4,
        "global_positions": [0],
    }
    with pytest.raises(ValueError, match=argument) as raised:
        sliding_window_attention(**(arguments | {argument: value}))
    assert str(raised.value).startswith(argument)
    assert expected in str(raised.value)


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("key", torch.zeros(2, 3, 10, 8), "must have a divisor of 4 heads"),
        ("value", torch.zeros(2, 4, 10, 8), "(2, 2, 10, 8)"),
        ("window", 0, "1 or more, the query's own among them"),
        ("window", (4, 1), "as (4, 0)"),
        ("window", (4,), "such as (255, 0)"),
        ("global_query", GOOD, "must be None in a causal call"),
        ("global_key", GOOD, "must be None in a causal call"),
        ("global_value", GOOD, "must be None in a causal call"),
    ],
)
def test_errors_of_causal_calls_with_grouped_heads(
    argument: str, value: Any, expected: str
) -> None:
    shared = torch.zeros(2, 2, 10, 8)
    arguments: dict[str, Any] = {"query": GOOD, "key": shared, "value": shared, "window": 4}
    with pytest.raises(ValueError, match=argument) as raised:
        sliding_window_attention(
            **(arguments | {argument: value}), causal=True, enable_gqa=True, global_positions=[0]
        )
    assert str(raised.value).startswith(argument)
    assert expected in str(raised.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("case", LONG, ids=lambda case: f"n{case.shape[2]}_w{case.window}")
@pytest.mark.parametrize(
    ("dtype", "limit"),
    [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.03), (torch.float16, 0.004)],
    ids=str,
)
def test_cuda_equals_dense_attention_under_the_mask(
    case: Case, dtype: torch.dtype, limit: float
) -> None:
    tensors = case.tensors(dtype)
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    on_gpu = [tensor.detach().cuda().requires_grad_() for tensor in tensors]
    padded = None if case.padded is None else case.padded.cuda()
    output, expected = case.attend(on_gpu, key_padding_mask=padded), case.expected(exact)
    assert error(output.cpu(), expected) < limit
    grad_output = normal(*output.shape, seed=99).to(dtype)
    ours = torch.autograd.grad(output, on_gpu[:3], grad_output.cuda())
    for gradient, reference in zip(ours, gradients(expected, exact[:3]), strict=True):
        assert reference is not None
        assert error(gradient.cpu(), reference) < limit * max(1.0, float(reference.abs().max()))
