"""Growth laws of attention modules from PyPI, known from their source code."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from axial_attention import AxialAttention
from linformer import LinformerSelfAttention
from local_attention.transformer import LocalMHA
from memory_efficient_attention_pytorch import Attention
from nystrom_attention import NystromAttention
from torch import Tensor, nn

from attnprof.guard.cases import case_of
from attnprof.guard.measurement import ContractCosts, measure_contract
from attnprof.kernels import custom

LENGTHS = (1024, 2048, 4096, 8192)
QUADRUPLED = (1024, 4096, 16384, 65536)


def measured(build: Any, lengths: tuple[int, ...] = LENGTHS) -> ContractCosts:
    with custom.registered_object(build, ["x=batch,len,64"]) as name:
        return measure_contract(case_of(name, lengths[0], {}), lengths)


def laws(measurement: ContractCosts) -> tuple[str, str]:
    return str(measurement.growth["macs"].law), str(measurement.growth["peak_bytes"].law)


class Grid(nn.Module):
    """Attention along the axes of a grid of tokens."""

    def __init__(self, inner: nn.Module, axes: int, side: int) -> None:
        super().__init__()
        self.inner = inner
        self.sides = (side,) * (axes - 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.unflatten(1, (*self.sides, -1))).flatten(1, -2)


def linformer(seq_len: int) -> nn.Module:
    return LinformerSelfAttention(dim=64, seq_len=seq_len, k=64, heads=4)


def linformer_of_log(seq_len: int) -> nn.Module:
    return LinformerSelfAttention(dim=64, seq_len=seq_len, k=16 * seq_len.bit_length(), heads=4)


def nystrom(seq_len: int) -> nn.Module:
    return NystromAttention(dim=64, dim_head=16, heads=4, num_landmarks=64)


def local(seq_len: int) -> nn.Module:
    return LocalMHA(dim=64, window_size=128, heads=4, dim_head=16)


def local_of_root(seq_len: int) -> nn.Module:
    return LocalMHA(dim=64, window_size=2 ** (int(math.log2(seq_len)) // 2), heads=4, dim_head=16)


def plain(seq_len: int) -> nn.Module:
    return Attention(dim=64, heads=4, dim_head=16)


def in_chunks(seq_len: int) -> nn.Module:
    sizes = {"q_bucket_size": 512, "k_bucket_size": 1024}
    return Attention(dim=64, heads=4, dim_head=16, memory_efficient=True, **sizes)


def axial(seq_len: int) -> nn.Module:
    side = 2 ** (int(math.log2(seq_len)) // 2)
    return Grid(AxialAttention(dim=64, heads=4, num_dimensions=2, dim_index=-1), 2, side)


def axial_of_squares(seq_len: int) -> nn.Module:
    side = math.isqrt(seq_len)
    assert side**2 == seq_len, "squares only"
    return Grid(AxialAttention(dim=64, heads=4, num_dimensions=2, dim_index=-1), 2, side)


def axial_of_bits(seq_len: int) -> nn.Module:
    axes = int(math.log2(seq_len))
    inner = AxialAttention(64, num_dimensions=axes, heads=4, dim_index=-1, sum_axial_out=False)
    return Grid(inner, axes, 2)


KNOWN = {
    # keys and values are projected to 64 tokens, or to a multiple of log n
    linformer: ("linear", "linear"),
    linformer_of_log: ("n log n", "n log n"),
    # 64 landmarks
    nystrom: ("linear", "linear"),
    # three windows of 128 keys, or of sqrt n
    local: ("linear", "linear"),
    local_of_root: ("n sqrt n", "n sqrt n"),
    # all pairs; all scores at once, or one chunk at a time
    plain: ("quadratic", "quadratic"),
    in_chunks: ("quadratic", "linear"),
    # a row and a column of a square, one axis after the other
    axial: ("n sqrt n", "n sqrt n"),
    # log n axes of two tokens, one after the other
    axial_of_bits: ("n log n", "linear"),
}


@pytest.mark.parametrize("build", KNOWN, ids=lambda build: build.__name__)
def test_the_measured_law_is_that_of_the_source(build: Any) -> None:
    measurement = measured(build)
    assert not measurement.problem
    assert not measurement.uncounted
    assert laws(measurement) == KNOWN[build]


def test_a_module_for_square_lengths_gets_its_law_from_fourfold_lengths() -> None:
    assert laws(measured(axial_of_squares, QUADRUPLED)) == ("n sqrt n", "n sqrt n")


@pytest.mark.parametrize(
    ("build", "terms"),
    [
        # four projections of 64 by 64, keys and values to 64 tokens, scores and sums over 64 keys
        (linformer, (0, 4 * 64**2 + 2 * 64 * 64 + 2 * 64 * 64, 0)),
        (local, (0, 4 * 64**2 + 2 * 64 * 3 * 128, 0)),
        (plain, (0, 4 * 64**2, 2 * 64)),
    ],
    ids=["linformer", "local", "plain"],
)
def test_the_polynomial_of_macs_is_that_of_the_source(build: Any, terms: tuple[int, ...]) -> None:
    assert measured(build).growth["macs"].terms == tuple(map(Fraction, terms))
