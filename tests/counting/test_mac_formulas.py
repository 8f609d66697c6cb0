"""MAC formulas compared with independent definitions that enumerate the products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import scaled_dot_product_attention

from attnprof.core.errors import MeasurementError
from attnprof.counting.mac_formulas import register_mac_formula
from attnprof.counting.operator_counts import count_operators

A, B = torch.zeros(2, 3, 5), torch.zeros(2, 5, 7)


@pytest.mark.parametrize(
    ("run", "macs"),
    [
        (lambda: A[0] @ B[0], 3 * 5 * 7),
        (lambda: torch.bmm(A, B), 2 * 3 * 5 * 7),
        (lambda: torch.einsum("bij,bjk->bik", A, B), 2 * 3 * 5 * 7),
        (lambda: torch.addmm(torch.zeros(7), A[0], B[0]), 3 * 5 * 7),
        (lambda: torch.baddbmm(torch.zeros(2, 3, 7), A, B), 2 * 3 * 5 * 7),
        (lambda: torch.addbmm(torch.zeros(3, 7), A, B), 2 * 3 * 5 * 7),
        (lambda: torch.mv(A[0], torch.zeros(5)), 3 * 5),
        (lambda: torch.addmv(torch.zeros(3), A[0], torch.zeros(5)), 3 * 5),
        (lambda: torch.dot(torch.zeros(9), torch.zeros(9)), 9),
        (lambda: torch.addr(torch.zeros(3, 4), torch.zeros(3), torch.zeros(4)), 12),
        (lambda: nn.Linear(5, 7)(A), 2 * 3 * 5 * 7),
        (lambda: torch.softmax(A, -1) + 1, 0),
    ],
)
@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_matrix_products(run: Callable[[], Any], macs: int, guard: Callable[[], Any]) -> None:
    with guard():
        assert count_operators(run).complete_macs == macs


def _conv_products(conv: Any, inputs: torch.Tensor) -> int:
    """MACs of a convolution without padding: of ones, each output is the number of its products."""
    ones = type(conv)(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        stride=conv.stride,
        groups=conv.groups,
        bias=False,
    )
    nn.init.ones_(ones.weight)
    with torch.no_grad():
        return int(ones(torch.ones_like(inputs)).sum())


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_forward_and_backward(kind: Any, groups: int, stride: int) -> None:
    conv = kind(4, 8, 3, stride=stride, groups=groups)
    inputs = torch.zeros(2, 4, *[9] * (conv.weight.dim() - 2), requires_grad=True)
    products = _conv_products(conv, inputs)
    assert count_operators(lambda: conv(inputs)).complete_macs == products
    assert count_operators(lambda: conv(inputs).sum().backward()).complete_macs == 3 * products


@pytest.mark.parametrize(("queries", "keys"), [(8, 8), (40, 600), (600, 40), (800, 1100), (1, 7)])
def test_causal_attention_on_cpu_multiplies_whole_blocks(queries: int, keys: int) -> None:
    """Compared with the loops of the kernel over blocks of queries and keys."""
    rows = 256 if queries >= 768 else 64 if queries >= 192 else 32
    pairs = 0
    for first in range(0, queries, rows):
        last = min(first + rows, queries)
        for begin in range(0, min(last, keys), 512):
            pairs += (last - first) * (min(begin + 512, keys) - begin)
    query, key = torch.zeros(1, 2, queries, 16), torch.zeros(1, 2, keys, 16)
    with torch.no_grad():
        counted = count_operators(
            lambda: scaled_dot_product_attention(query, key, key, is_causal=True)
        ).complete_macs
    assert counted == 2 * 2 * 16 * pairs


def test_each_grouped_query_head_has_its_own_scores() -> None:
    query, key = torch.zeros(2, 8, 10, 16), torch.zeros(2, 2, 12, 16)
    with torch.no_grad():
        counted = count_operators(
            lambda: scaled_dot_product_attention(query, key, key, enable_gqa=True)
        )
    assert counted.complete_macs == 2 * (2 * 8 * 10 * 12 * 16)


def test_operators_without_a_formula_are_listed_until_one_is_registered() -> None:
    @torch.library.custom_op("attnprof_tests::band", mutates_args=())
    def band(query: torch.Tensor, window: int) -> torch.Tensor:
        return query.clone()

    band.register_fake(lambda query, window: torch.empty_like(query))
    operator = torch.ops.attnprof_tests.band

    class Custom(nn.Module):
        def forward(self, query: torch.Tensor) -> Any:
            return operator(operator(query, 4), 4)

    model = nn.Sequential(nn.Linear(5, 5), Custom())
    counts = count_operators(lambda: model(A))
    assert counts.macs == 2 * 3 * 5 * 5
    assert counts.uncounted == {"attnprof_tests.band": 2}
    assert not counts.tallies["1", "attnprof_tests.band"].is_counted
    with pytest.raises(MeasurementError, match=r"attnprof_tests\.band \(2 calls\)"):
        _ = counts.complete_macs
    register_mac_formula(operator, lambda query, window, **_: query.numel() * window)
    assert count_operators(lambda: model(A)).complete_macs == 2 * 3 * 5 * 5 + 2 * 30 * 4
    with FakeTensorMode() as fake:
        inputs = fake.from_tensor(A)
        assert count_operators(lambda: Custom()(inputs)).complete_macs == 2 * 30 * 4


def test_a_formula_for_a_single_overload_is_refused() -> None:
    with pytest.raises(TypeError, match=r"torch\.ops\.aten\.mm"):
        register_mac_formula(torch.ops.aten.mm.default, lambda **_: 0)


@pytest.mark.parametrize(
    "run", [lambda: torch.fft.fft(torch.zeros(8)), lambda: torch.linalg.inv(torch.eye(3))]
)
def test_transforms_and_solvers_are_uncounted(run: Callable[[], Any]) -> None:
    assert count_operators(run).uncounted


def test_operators_belong_to_the_innermost_module() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.Sequential(nn.Linear(4, 3)))
    counts = count_operators(lambda: model(A))
    macs = {path: tally.macs for (path, _), tally in counts.tallies.items() if tally.macs}
    assert macs == {"0": 6 * 5 * 4, "1.0": 6 * 4 * 3}


def test_encoder_layers_that_run_as_one_operator() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    inputs = torch.zeros(2, 6, 16)
    with torch.no_grad():
        counts = count_operators(lambda: layer(inputs))
    assert counts.complete_macs == 2 * (4 * 6 * 16**2 + 2 * 6 * 6 * 16 + 2 * 6 * 16 * 32)
