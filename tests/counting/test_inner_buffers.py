"""Predicted memory inside operators, compared with what the allocator reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention.flex_attention import flex_attention

import attnprof
from attnprof.core.errors import MeasurementError
from attnprof.counting.allocations import peak_bytes
from attnprof.counting.call import Call
from attnprof.counting.call_profile import profile_call
from attnprof.counting.fake_tensors import fake_mode
from attnprof.measure.peak_memory import measure_peak_bytes

SCALARS = 64
"""Bytes of the scalar tensors that kernels allocate."""


class Function(nn.Module):
    def __init__(self, function: Callable[..., Any], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleDict(modules)

    def forward(self, **inputs: torch.Tensor) -> Any:
        return self.function(*self.parts.values(), *inputs.values())


def call_of(
    function: Callable[..., Any],
    shapes: tuple[tuple[int, ...], ...],
    mode: Any = "inference",
    dtype: torch.dtype = torch.float32,
    **parts: Callable[[], nn.Module],
) -> Call:
    module = Function(function, **{name: make() for name, make in parts.items()})
    inputs = {
        f"x{index}": torch.randn(shape, dtype=dtype, requires_grad=mode == "training")
        for index, shape in enumerate(shapes)
    }
    return Call(module.train(mode == "training"), inputs, mode)


def check(build: Callable[[], Call]) -> int:
    """The allocator's peak; the prediction must equal it, except for scalars."""
    build().run()  # what is loaded and cached once is not part of a call
    measured = measure_peak_bytes(build().run, "cpu")
    with fake_mode():
        predicted = peak_bytes(build().run)
    assert abs(predicted - measured) <= SCALARS + measured // 1000
    return measured


def encoder_layer(**options: Any) -> Callable[[], nn.Module]:
    return lambda: nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, **options)


def call_part(layer: nn.Module, x: torch.Tensor) -> Any:
    return layer(x)


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("options", [{}, {"norm_first": True}, {"activation": "gelu"}])
@pytest.mark.parametrize("shape", [(1, 300, 64), (3, 40, 64)])
def test_encoder_layers_hold_all_scores(mode: Any, options: Any, shape: Any) -> None:
    peak = check(lambda: call_of(call_part, (shape,), mode, layer=encoder_layer(**options)))
    batch, n, _ = shape
    if mode == "inference" and n == 300:
        assert peak > batch * 4 * n * n * 4


def test_predicted_peak_of_an_encoder_layer() -> None:
    """Queries, keys and values of 1,024 tokens, and their scores: 16.8 MiB."""
    with fake_mode():
        predicted = peak_bytes(call_of(call_part, ((1, 1024, 64),), layer=encoder_layer()).run)
    assert predicted == 3 * 1024 * 64 * 4 + 4 * 1024 * 1024 * 4


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_predicted_peaks_of_multihead_attention_are_the_measured_ones(
    mode: Any, need_weights: bool, average: bool, batch_first: Any
) -> None:
    def attend(layer: Any, x: torch.Tensor) -> Any:
        return layer(x, x, x, need_weights=need_weights, average_attn_weights=average)

    def layer() -> nn.Module:
        return nn.MultiheadAttention(64, 4, batch_first=batch_first)

    check(lambda: call_of(attend, ((2, 128, 64),), mode, layer=layer))


def test_predicted_peak_of_multihead_attention() -> None:
    """512 tokens, batch 2: four tensors like the input, the scores, and their mean over heads."""
    input_bytes, scores = 2 * 512 * 64 * 4, 2 * 4 * 512 * 512 * 4

    def attend(layer: Any, x: torch.Tensor) -> Any:
        return layer(x, x, x)

    def layer() -> nn.Module:
        return nn.MultiheadAttention(64, 4, batch_first=True)

    with fake_mode():
        predicted = peak_bytes(call_of(attend, ((2, 512, 64),), layer=layer).run)
    assert predicted == 4 * input_bytes + scores + scores // 4
    assert predicted == pytest.approx(11.0 * 2**20, rel=0.001)


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(
    ("shape", "value"),
    [
        ((4, 96, 16), (4, 96, 16)),  # three dimensions
        ((2, 4, 96, 16), (2, 4, 96, 32)),  # wider values
        ((2, 4, 200, 16), (2, 4, 200, 16)),  # the fused operator, backward too
    ],
)
def test_predicted_peaks_of_scaled_dot_product_attention_are_the_measured_ones(
    mode: Any, is_causal: bool, shape: Any, value: Any
) -> None:
    def attend(query: Any, key: Any, value: Any) -> Any:
        return functional.scaled_dot_product_attention(query, key, value, is_causal=is_causal)

    check(lambda: call_of(attend, (shape, shape, value), mode))


def test_flex_attention_that_is_not_compiled_holds_all_scores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Whether torch compiles the check of its arguments depends on what ran before.
    monkeypatch.setattr(
        "torch.nn.attention.flex_attention._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True
    )
    peak = check(lambda: call_of(flex_attention, 3 * ((1, 2, 256, 16),)))
    assert peak > 3 * 2 * 256 * 256 * 4  # scores, modified scores and weights


def test_flex_attention_that_would_be_compiled_holds_none() -> None:
    """What the compiled kernel allocates per thread is not known, but it holds no scores."""
    compiled = torch.compile(flex_attention)

    def around(query: Any, key: Any, value: Any) -> Any:
        return compiled(query, key, value) + flex_attention(query, key, value)[..., :1]

    shapes = 3 * ((1, 2, 256, 16),)
    output_bytes = 2 * 256 * 16 * 4
    with fake_mode():
        uncompiled = peak_bytes(call_of(flex_attention, shapes).run)
        assert profile_call(call_of(compiled, shapes).run).peak_bytes < 2 * output_bytes
        assert profile_call(call_of(around, shapes).run).peak_bytes > uncompiled > 40 * output_bytes
        with pytest.raises(
            MeasurementError, match="memory allocated inside flex_attention is not known"
        ):
            peak_bytes(call_of(compiled, shapes).run)


def test_complex_products_conjugate_a_copy() -> None:
    check(lambda: call_of(torch.bmm, 2 * ((4, 32, 32),), "training", torch.complex64))
    check(lambda: call_of(torch.mm, 2 * ((64, 64),), "training", torch.complex64))
    peak = check(lambda: call_of(lambda x: x @ x.conj(), ((64, 64),), dtype=torch.complex64))
    assert peak == 2 * 64 * 64 * 8


@pytest.mark.parametrize(
    ("function", "shapes", "times"),
    [
        (lambda x: x.logsumexp(-1), ((64, 64),), 1),
        (functional.mse_loss, 2 * ((64, 64),), 2),
        (functional.huber_loss, 2 * ((64, 64),), 1),
        (functional.binary_cross_entropy_with_logits, 2 * ((64, 64),), 2),
        (lambda x: x[:, ::2] @ x[::2], ((64, 64),), 1.5),
        (lambda x, y: x + y.to(torch.float64), 2 * ((64, 64),), 6),
        (lambda x: functional.layer_norm(x.mT, (64,)), ((64, 64),), 2),
        (lambda x: (x.bfloat16() * x).sum(), ((64, 64),), 2.5),
        (lambda x: (x > 0).sum(-1), ((64, 64),), 2.25),
        (lambda x: x.bfloat16().mean(-1), ((64, 64),), 1.5),
    ],
)
def test_predicted_peaks_of_other_operators_are_the_measured_ones(
    function: Any, shapes: Any, times: float
) -> None:
    """The peak is `times` the 16 KiB of a tensor, plus at most a few rows."""
    assert check(lambda: call_of(function, shapes)) == pytest.approx(times * 2**14, rel=0.05)


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize(
    ("part", "shape"),
    [
        (lambda: nn.LSTM(64, 32, batch_first=True), (1, 256, 64)),
        (lambda: nn.Conv1d(64, 64, 5), (2, 64, 256)),
        (lambda: nn.Upsample(scale_factor=2), (2, 8, 16, 16)),
    ],
)
def test_a_peak_that_depends_on_the_machine_is_an_error(mode: Any, part: Any, shape: Any) -> None:
    with fake_mode(), pytest.raises(MeasurementError, match=r"aten\..* is not known exactly"):
        peak_bytes(call_of(call_part, (shape,), mode, layer=part).run)


def test_memory_that_depends_on_the_machine_is_no_error_if_it_cannot_be_the_peak() -> None:
    def small_before_large(conv: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return conv(x).sum() + x.repeat(64, 1, 1)

    check(lambda: call_of(small_before_large, ((1, 16, 64),), conv=lambda: nn.Conv1d(16, 16, 1)))


def test_memory_inside_custom_operators_is_unknown() -> None:
    @torch.library.custom_op("attnprof_tests::opaque", mutates_args=())
    def opaque(x: torch.Tensor) -> torch.Tensor:
        return x @ x.mT @ x

    opaque.register_fake(torch.empty_like)
    with fake_mode(), pytest.raises(MeasurementError, match=r"attnprof_tests\.opaque .*not known"):
        peak_bytes(call_of(opaque, ((1, 16, 16),)).run)

    class Custom(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return torch.ops.attnprof_tests.opaque(x)

    with pytest.raises(MeasurementError, match="growth of peak bytes cannot be determined"):
        attnprof.assert_growth(Custom(), lens=[64, 128], peak_bytes="linear", input="x=1,len,8")


def test_the_peak_of_the_encoder_layer_is_not_linear() -> None:
    with pytest.raises(AssertionError, match="quadratic"):
        attnprof.assert_growth(
            encoder_layer()(), lens=[64, 128, 256, 512], peak_bytes="linear", input="src=1,len,64"
        )
