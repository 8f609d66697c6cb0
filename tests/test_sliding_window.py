"""`sliding_window_attention` against dense attention under the enumerated mask, and itself."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from attention_reference import reference_attention
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from attnprof import sliding_window_attention
from attnprof.measure.peak_memory import measure_peak_bytes
from attnprof.nn.banded import attention, tile_kernels
from attnprof.nn.banded.attention import Band

Positions = tuple[tuple[int, ...], ...]


def normal(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype)


def as_projected(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Numbers of that shape that lie in memory as a projection leaves them."""
    batch, heads, seq_len, head_dim = shape
    rows = normal(batch, seq_len, heads, head_dim, dtype=dtype, seed=seed)
    return rows.transpose(1, 2)


@dataclass(frozen=True)
class Case:
    """A call: its shape, pattern, padding and tensors."""

    shape: tuple[int, int, int, int]
    window: int
    dilation: tuple[int, ...]
    positions: Positions
    padded: Tensor | None
    own_projections: bool
    projected_layout: bool
    scale: float | None = None

    def tensors(self, dtype: torch.dtype = torch.float64) -> list[Tensor]:
        """Query, key and value, and those of global tokens; leaves of a graph."""
        make = as_projected if self.projected_layout else normal
        count = 6 if self.own_projections else 3
        return [make(*self.shape, dtype=dtype, seed=s).requires_grad_() for s in range(count)]

    def attend(self, tensors: Sequence[Tensor], **changes: Any) -> Tensor:
        """What is tested."""
        of_globals = dict(
            zip(("global_query", "global_key", "global_value"), tensors[3:], strict=False)
        )
        arguments: dict[str, Any] = {
            "window": self.window,
            "dilation": self.dilation,
            "global_positions": self.positions,
            "key_padding_mask": self.padded,
            "scale": self.scale,
        }
        return sliding_window_attention(*tensors[:3], **(arguments | of_globals | changes))

    def expected(self, tensors: Sequence[Tensor]) -> Tensor:
        """What it should be."""
        query, key, value, *of_globals = (tensor.double() for tensor in tensors)
        return reference_attention(
            query,
            key,
            value,
            window=self.window,
            dilation=self.dilation,
            positions=self.positions,
            of_globals=of_globals or None,
            padded=self.padded,
            scale=self.scale,
        )


@st.composite
def cases(draw: st.DrawFn, lengths: st.SearchStrategy[int] | None = None) -> Case:
    batch, heads = draw(st.integers(1, 2)), draw(st.integers(1, 4))
    seq_len = draw(lengths or st.integers(1, 150))
    position = st.integers(0, seq_len - 1)
    chosen = st.lists(position, max_size=draw(st.sampled_from((0, 2, 9))), unique=True).map(
        lambda drawn: tuple(sorted(drawn))
    )
    padded = None
    if draw(st.booleans()):
        kept = [draw(st.integers(0, seq_len)) for _ in range(batch)]
        padded = torch.arange(seq_len) >= torch.tensor(kept).unsqueeze(1)
        padded[:, draw(position)] ^= draw(st.booleans())
    return Case(
        shape=(batch, heads, seq_len, draw(st.sampled_from((16, 24, 32)))),
        window=2 * draw(st.integers(1, 60)),
        dilation=tuple(
            draw(
                st.lists(st.sampled_from((1, 1, 2, 3, 7, 40)), min_size=heads, max_size=heads),
            )
        ),
        positions=tuple(draw(chosen) for _ in range(batch)),
        padded=padded,
        own_projections=draw(st.booleans()),
        projected_layout=draw(st.booleans()),
        scale=draw(st.sampled_from((None, 0.5))),
    )


def error(ours: Tensor, theirs: Tensor) -> float:
    difference = ours.detach().double() - theirs.detach().double()
    return float(difference.abs().max()) if theirs.numel() else 0.0


def gradients(output: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(
        output,
        tensors,
        normal(*output.shape, seed=99).to(output.dtype),
        allow_unused=True,
    )


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


# Lengths at which a sequence is cut into several tiles, and dilated chains into several groups.
LONG = [
    Case((1, 2, 700, 64), 512, (1, 1), ((),), None, False, True),
    Case((2, 2, 1300, 32), 256, (1, 1), ((0,), (5, 600)), None, True, True),
    Case((1, 3, 1111, 16), 64, (1, 2, 8), ((0, 1, 700),), None, False, False),
    Case((1, 1, 2050, 16), 2, (1,), ((2049,),), None, False, True),
    Case((1, 2, 1024, 16), 128, (3, 300), (tuple(range(40)),), None, True, True),
    Case(
        (2, 1, 900, 256), 100, (1,), ((), (899,)), torch.arange(1800).view(2, 900) > 850, True, True
    ),
]


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
def test_many_tiles_in_every_type(case: Case, dtype: torch.dtype, limit: float) -> None:
    tensors = case.tensors(dtype)
    # The numbers as they are after rounding; what is left is the error of computing with them.
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    output, expected = case.attend(tensors), case.expected(exact)
    assert output.dtype == dtype
    assert error(output, expected) < limit
    for ours, theirs in zip(gradients(output, tensors), gradients(expected, exact), strict=True):
        if theirs is not None:
            assert ours is not None
            assert ours.dtype == dtype
            assert error(ours, theirs) < limit * max(1.0, float(theirs.abs().max()))


def test_a_window_that_reaches_everything_is_dense_attention() -> None:
    query, key, value = (normal(2, 3, 37, 16, seed=seed) for seed in range(3))
    dense = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    for window in (72, 74, 4096):
        assert error(sliding_window_attention(query, key, value, window=window), dense) < 1e-13
    all_global = sliding_window_attention(
        query, key, value, window=2, global_positions=list(range(37))
    )
    assert error(all_global, dense) < 1e-13


@pytest.mark.parametrize("given_as", ["numbers", "rows", "one row of marks", "marks", "any order"])
def test_global_positions_in_every_way_are_the_same(given_as: str) -> None:
    chosen = (3, 17, 40)
    case = Case((2, 2, 61, 16), 8, (1, 2), (chosen, chosen), None, True, True)
    tensors = case.tensors()
    marks = torch.zeros(61, dtype=torch.bool)
    marks[list(chosen)] = True
    ways: dict[str, Any] = {
        "numbers": list(chosen),
        "rows": [list(chosen), list(chosen)],
        "one row of marks": marks,
        "marks": marks.expand(2, 61),
        "any order": [40, 3, 17],
    }
    output = case.attend(tensors, global_positions=ways[given_as])
    assert torch.equal(output, case.attend(tensors))


def test_global_queries_may_be_their_rows_alone() -> None:
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


def test_projections_of_global_tokens_are_not_read_without_global_tokens() -> None:
    case = Case((1, 2, 40, 16), 8, (1, 1), ((),), None, True, True)
    tensors = case.tensors()
    assert torch.equal(case.attend(tensors), case.attend(tensors[:3]))
    assert gradients(case.attend(tensors), tensors)[3:] == (None, None, None)


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
def test_a_query_that_reads_no_key_gives_zero_and_no_gradient(dtype: torch.dtype) -> None:
    """Its window holds padded keys only; or the whole sequence is padded, globals too."""
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


def test_what_is_padded_is_not_read_whatever_it_holds() -> None:
    padded = torch.arange(120).expand(2, 120) >= torch.tensor([[70], [120]])
    case = Case((2, 2, 120, 16), 30, (1, 2), ((0,), (3,)), padded, True, True)
    tensors = [tensor.detach() for tensor in case.tensors(torch.float32)]
    expected = case.attend(tensors)
    for number in (1e30, -1e30):
        spoilt = [tensor.clone() for tensor in tensors]
        for position in (1, 2, 4, 5):
            spoilt[position][0, :, 70:] = number
        output = case.attend(spoilt)
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


def test_items_of_a_batch_do_not_touch_one_another() -> None:
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
    for one, other in zip(gradients(first, tensors), gradients(second, tensors), strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)
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


def test_output_lies_in_memory_as_the_next_projection_reads_it() -> None:
    case = Case((2, 3, 40, 16), 8, (1, 1, 1), ((0,), ()), None, False, False)
    output = case.attend(case.tensors())
    assert output.transpose(1, 2).is_contiguous()


# Derivatives by differences, which know nothing of any formula.

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
            with pytest.raises(RuntimeError, match="a first derivative only"):
                torch.autograd.grad(first.sum(), tensors)


# Dropout.


def weights_with(dropout_p: float, seed: int = 0, seq_len: int = 400) -> Tensor:
    """The weights themselves: what the unit vectors as values give, `(seq_len, seq_len)`."""
    query, key = (normal(1, 1, seq_len, seq_len, seed=s) * 0.1 for s in range(2))
    value = torch.eye(seq_len, dtype=torch.float64).view(1, 1, seq_len, seq_len)
    torch.manual_seed(seed)
    return sliding_window_attention(
        query, key, value, window=40, global_positions=[0, 200], dropout_p=dropout_p
    )[0, 0]


def test_dropout_drops_each_weight_alone_and_scales_what_is_left() -> None:
    kept, dropped = weights_with(0.0), weights_with(0.25)
    read = kept > 0
    assert not dropped[~read].any()
    lives = dropped[read] > 0
    assert error(dropped[read][lives], kept[read][lives] / 0.75) < 1e-12
    count = int(read.sum())
    five_sigma = 5 * (0.25 * 0.75 / count) ** 0.5
    assert abs(float(lives.double().mean()) - 0.75) < five_sigma
    rows = (dropped > 0).double().sum(1) / read.sum(1)
    assert 0.3 < float(rows.min()) < float(rows.max()) < 1.0, "no row is dropped as a whole"


def test_dropout_follows_the_random_state() -> None:
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


# Products: what computes dropout, and all on a GPU.


@given(cases())
@settings(max_examples=60)
def test_products_as_a_gpu_computes_them_are_the_same(case: Case) -> None:
    tensors = [tensor.detach() for tensor in case.tensors()[:3]]
    grad_output = normal(*case.shape, seed=99)
    band = Band(window=case.window, dilation=case.dilation, global_positions=case.positions)
    scale = case.scale or case.shape[-1] ** -0.5

    def whole(query: Tensor, dropout_p: float, scale: float) -> tile_kernels.TileOperator:
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
    for one, other in zip(fused, products, strict=True):
        assert error(one, other) < 1e-11


# Memory: linear, and none kept.


def test_peak_memory_is_linear_in_length_and_nothing_stays() -> None:
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


# torch.compile, fake tensors, the meta device.


@pytest.mark.parametrize("positions", [(), (0, 30)], ids=["band", "globals"])
def test_compiles_whole_with_gradients(positions: tuple[int, ...]) -> None:
    padded = torch.arange(70).expand(2, 70) >= torch.tensor([[70], [50]])
    case = Case((2, 2, 70, 16), 12, (1, 3), (positions, positions), padded, bool(positions), True)
    tensors = case.tensors()
    compiled = torch.compile(lambda *t: case.attend(t), backend="aot_eager", fullgraph=True)
    output = compiled(*tensors)
    expected = case.attend(tensors)
    assert error(output, expected) < 1e-14
    for ours, theirs in zip(gradients(output, tensors), gradients(expected, tensors), strict=True):
        assert ours is not None
        assert theirs is not None
        assert error(ours, theirs) < 1e-13


def test_compiled_dropout_has_the_gradient_of_what_it_dropped() -> None:
    case = Case((1, 2, 30, 8), 8, (1, 2), ((),), None, False, True)
    tensors = case.tensors()
    compiled = torch.compile(
        lambda *t: case.attend(t, dropout_p=0.5), backend="aot_eager", fullgraph=True
    )
    output = compiled(*tensors)
    # Linear in the values: what was dropped on the way forward is so on the way back.
    (of_values,) = torch.autograd.grad(output.sum(), [tensors[2]])
    along_values = float((of_values * tensors[2].detach()).sum())
    assert along_values == pytest.approx(float(output.detach().sum()), rel=1e-12)


@pytest.mark.parametrize("kind", ["fake", "meta"])
def test_shapes_can_be_known_without_numbers(kind: str) -> None:
    def shapes(make: Any) -> None:
        tensors = [make(2, 4, 100, 16).requires_grad_() for _ in range(6)]
        case = Case((2, 4, 100, 16), 12, (1, 1, 2, 3), ((0,), (4, 5)), None, True, True)
        output = case.attend(tensors)
        assert output.shape == (2, 4, 100, 16)
        assert [g.shape for g in torch.autograd.grad(output.sum(), tensors)] == [
            (2, 4, 100, 16)
        ] * 6

    if kind == "meta":
        shapes(partial(torch.empty, device="meta"))
    else:
        with FakeTensorMode():
            shapes(torch.empty)


# Errors name the argument.


def test_signature_is_the_published_one() -> None:
    assert list(inspect.signature(sliding_window_attention).parameters) == [
        "query",
        "key",
        "value",
        "window",
        "dilation",
        "global_positions",
        "global_query",
        "global_key",
        "global_value",
        "key_padding_mask",
        "dropout_p",
        "scale",
    ]


GOOD = torch.zeros(2, 4, 10, 8)


@pytest.mark.parametrize(
    ("argument", "value", "says"),
    [
        ("query", torch.zeros(4, 10, 8), "(batch, heads, seq_len, head_dim)"),
        ("query", GOOD.long(), "floating point"),
        ("key", torch.zeros(2, 4, 11, 8), "(2, 4, 10, 8)"),
        ("key", GOOD.double(), "float32"),
        ("value", torch.zeros(2, 4, 10, 4), "(2, 4, 10, 8)"),
        ("window", 7, "even"),
        ("window", 0, "even"),
        ("window", 4.0, "even"),
        ("dilation", 0, "1"),
        ("dilation", (1, 2), "4"),
        ("global_positions", [10], "10 tokens"),
        ("global_positions", [-1], "0"),
        ("global_positions", [[0], [1], [2]], "the batch has 2"),
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
def test_errors_name_the_argument_and_what_would_be_right(
    argument: str, value: Any, says: str
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
    assert says in str(raised.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("case", LONG, ids=lambda case: f"n{case.shape[2]}_w{case.window}")
@pytest.mark.parametrize(
    ("dtype", "limit"),
    [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.03), (torch.float16, 0.004)],
    ids=str,
)
def test_cuda_gives_what_the_mask_says(case: Case, dtype: torch.dtype, limit: float) -> None:
    tensors = case.tensors(dtype)
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    own = [tensor.detach().cuda().requires_grad_() for tensor in tensors]
    padded = None if case.padded is None else case.padded.cuda()
    output, expected = case.attend(own, key_padding_mask=padded), case.expected(exact)
    assert error(output.cpu(), expected) < limit
    grad_output = normal(*output.shape, seed=99).to(dtype)
    ours = torch.autograd.grad(output, own[:3], grad_output.cuda())
    for one, other in zip(ours, gradients(expected, exact[:3]), strict=True):
        assert other is not None
        assert error(one.cpu(), other) < limit * max(1.0, float(other.abs().max()))
