"""Which operators of a run are attention, and what is known of their masks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from attnprof import AttentionPattern, sliding_window_attention
from attnprof.counting import constant_propagation
from attnprof.counting.attention.calls import AttentionCall, AttentionCalls
from attnprof.counting.attention.tracing import attention_calls
from attnprof.counting.fake_tensors import fake_mode
from attnprof.counting.operator_counts import count_operators

N, HEADS, HEAD_DIM = 12, 3, 4
ALL = HEADS * N * N
CAUSAL = HEADS * N * (N + 1) // 2


def _calls(run: Callable[[], object]) -> AttentionCalls:
    with fake_mode(), torch.no_grad():
        return attention_calls(run)


def _call(run: Callable[[], object]) -> AttentionCall:
    (call,) = _calls(run).calls
    return call


def _tokens(seq_len: int = N) -> Tensor:
    return torch.randn(1, HEADS, seq_len, HEAD_DIM)


def _earlier(seq_len: int = N) -> Tensor:
    return torch.arange(seq_len) <= torch.arange(seq_len)[:, None]


def _attend(scores: Tensor) -> Tensor:
    return scores.softmax(-1) @ _tokens(scores.shape[-1])


def test_a_mask_that_depends_on_data_is_not_guessed() -> None:
    def run() -> None:
        scores = _tokens() @ _tokens().mT
        _attend(scores.masked_fill(scores < scores.topk(3).values[..., -1:], -torch.inf))

    call = _call(run)
    assert (call.attended_pairs, call.useful_macs) == (None, None)
    assert call.unknown == "its mask depends on data"
    assert call.executed_pairs == ALL


@pytest.mark.parametrize("scale", [1e4, 3e38])
def test_data_that_are_scaled_to_a_mask_are_not_guessed(scale: float) -> None:
    call = _call(lambda: _attend(_tokens() @ _tokens().mT + (1 - torch.rand(N)) * -scale))
    assert call.attended_pairs is None


def test_a_bias_that_is_learned_hides_nothing() -> None:
    def run() -> None:
        bias = nn.Parameter(torch.zeros(HEADS, N, N))
        _attend((_tokens() @ _tokens().mT + bias).masked_fill(~_earlier(), -torch.inf))

    assert _call(run).attended_pairs == CAUSAL


def test_scores_of_positions_are_added_to_those_of_keys() -> None:
    """As in DeBERTa and Transformer-XL: one score for each of twice as many distances."""

    def run() -> None:
        to_positions = _tokens() @ torch.randn(HEAD_DIM, 2 * N)
        distance = torch.arange(N)[:, None] - torch.arange(N) + N
        moved = to_positions.gather(-1, distance.expand(1, HEADS, N, N))
        _attend((_tokens() @ _tokens().mT + moved).masked_fill(~_earlier(), -torch.inf))

    call = _call(run)
    assert (call.attended_pairs, call.executed_pairs) == (CAUSAL, ALL)
    assert call.executed_macs == 2 * ALL * HEAD_DIM


def test_a_bias_that_grows_with_distance_hides_nothing() -> None:
    """ALiBi, with slopes at which the farthest keys have large negative biases."""

    def run() -> None:
        distance = torch.arange(N)[:, None] - torch.arange(N)
        slopes = torch.tensor([300.0, 900.0, 2000.0])[:, None, None]
        scores = _tokens() @ _tokens().mT - slopes * distance
        _attend(scores.masked_fill(distance < 0, -torch.inf))

    assert _call(run).attended_pairs == CAUSAL


def test_weights_that_are_set_to_zero_are_hidden() -> None:
    def run() -> None:
        weights = (_tokens() @ _tokens().mT).masked_fill(~_earlier(), -torch.inf).softmax(-1)
        weights = weights * torch.tensor([1.0, 0.0, 1.0])[:, None, None]
        weights.masked_fill(torch.arange(N)[:, None] >= 10, 0.0) @ _tokens()

    assert _call(run).attended_pairs == 2 * sum(range(1, 11))


def test_parts_of_the_weights_count_once_each() -> None:
    def run() -> None:
        weights = (_tokens() @ _tokens().mT).softmax(-1)
        weights[..., :5] @ _tokens(5) + weights[..., 5:] @ _tokens(N - 5)
        weights @ _tokens()

    call = _call(run)
    assert (call.attended_pairs, call.executed_pairs) == (ALL, ALL)
    assert call.executed_macs == 3 * ALL * HEAD_DIM


def test_scores_that_are_copied_to_one_tensor_are_all_executed() -> None:
    def run() -> None:
        scores = torch.full((1, HEADS, N, N), -torch.inf)
        scores[..., :4] = _tokens() @ _tokens(4).mT
        scores[..., 6:] = _tokens() @ _tokens(N - 6).mT
        _attend(scores)

    call = _call(run)
    pairs = HEADS * N * (N - 2)
    assert (call.attended_pairs, call.executed_pairs) == (pairs, pairs)
    assert call.executed_macs == (pairs + ALL) * HEAD_DIM


def test_products_that_are_no_attention() -> None:
    gate = nn.Linear(HEAD_DIM, 5, bias=False)

    def run() -> None:
        _tokens() @ (_tokens().mT @ _tokens())  # linear attention
        gate(_tokens()).softmax(-1) @ torch.randn(5, HEAD_DIM)  # a router
        (_tokens() @ _tokens().mT).softmax(-1).sum()  # weights of no values

    assert _calls(run) == AttentionCalls(())


def test_only_the_forward_pass_has_pairs() -> None:
    def run() -> None:
        with torch.enable_grad():
            query = _tokens().requires_grad_()

            def attend(query: Tensor) -> Tensor:
                scores = (query @ _tokens().mT).masked_fill(~_earlier(), -torch.inf)
                return functional.dropout(scores.softmax(-1), 0.1) @ _tokens()

            checkpoint(attend, query, use_reentrant=False).sum().backward()  # pyright: ignore
            mask = torch.where(_earlier(), 0.0, -torch.inf)
            output = functional.scaled_dot_product_attention(query, query, query, mask, 0.1)
            output.sum().backward()

    calls = _calls(run).calls
    assert [call.attended_pairs for call in calls] == [CAUSAL, CAUSAL]
    assert [call.executed_macs for call in calls] == [2 * ALL * HEAD_DIM] * 2


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("is_fast", [False, True])
def test_torch_layers(need_weights: bool, is_fast: bool) -> None:
    """In eval mode and without gradients they run as one operator."""

    def run() -> None:
        layer = nn.MultiheadAttention(HEADS * HEAD_DIM, HEADS, batch_first=True).eval()
        hidden = torch.randn(1, N, HEADS * HEAD_DIM)
        with torch.set_grad_enabled(not is_fast):
            layer(hidden, hidden, hidden, attn_mask=~_earlier(), need_weights=need_weights)

    call = _call(run)
    assert call.attended_pairs == CAUSAL
    assert call.executed_macs == 2 * ALL * HEAD_DIM


@pytest.mark.parametrize("options", [{}, {"global_positions": [0, 5]}, {"causal": True}])
def test_banded_attention(options: dict[str, object]) -> None:
    def run() -> None:
        sliding_window_attention(_tokens(), _tokens(), _tokens(), window=4, **options)  # type: ignore[arg-type]

    pattern = AttentionPattern.sliding(window=4, num_heads=HEADS, **options)  # type: ignore[arg-type]
    assert _calls(run).attended_pairs == pattern.pairs(N)


def test_macs_are_those_of_the_operators() -> None:
    class Layer(nn.Module):
        def forward(self) -> None:
            _attend(_tokens() @ _tokens().mT)
            functional.scaled_dot_product_attention(
                _tokens(), _tokens(5), torch.randn(1, HEADS, 5, HEAD_DIM), is_causal=True
            )

    module = nn.Sequential(Layer(), Layer())

    def run() -> None:
        module[0]()
        module[1]()

    with fake_mode(), torch.no_grad():
        calls = attention_calls(run)
        counts = count_operators(run)
    assert calls.executed_macs == counts.macs
    by_module: dict[str, int] = {}
    for (path, _), tally in counts.tallies.items():
        by_module[path] = by_module.get(path, 0) + tally.macs
    for path, macs in by_module.items():
        assert macs == sum(call.executed_macs for call in calls.calls if call.module_path == path)


def test_a_window_at_32768_tokens() -> None:
    """The check value of transformers' `sliding_window` of 1,024."""
    length, window = 32_768, 1_024

    def run() -> None:
        query, key = torch.arange(length)[:, None], torch.arange(length)
        mask = (key <= query) & (key > query - window)
        head = torch.randn(1, 1, length, 2)
        functional.scaled_dot_product_attention(head, head, head, mask)

    assert _call(run).attended_pairs == 33_030_656


@pytest.mark.parametrize("is_written", [False, True])
def test_masks_from_before_the_call_are_known_at_every_length(
    monkeypatch: pytest.MonkeyPatch, is_written: bool
) -> None:
    monkeypatch.setattr(constant_propagation, "MAX_ELEMENTS", N)
    with fake_mode(), torch.no_grad():
        mask = torch.full((N, N), -torch.inf).masked_fill(_earlier(), 0.0)[None]
        if is_written:
            mask[0, 0] = 0.0
        calls = attention_calls(lambda: _attend(_tokens() @ _tokens().mT + mask))
    assert calls.attended_pairs == (None if is_written else CAUSAL)
