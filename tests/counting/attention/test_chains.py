"""Pairs of eager attention and of fused operators, compared with the mask that was drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from attnprof.counting.attention import pair_counts, tracing
from attnprof.counting.attention.calls import AttentionCall, AttentionCalls
from attnprof.counting.attention.tracing import attention_calls
from attnprof.counting.fake_tensors import fake_mode

HEAD_DIM = 4
VALUE_DIM = 6


@pytest.fixture(autouse=True, scope="module")
def _small_parts() -> Any:
    """Small masks are evaluated as large ones are: as expressions, in strips."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "_FEW_ELEMENTS", 0)
        patch.setattr(pair_counts, "_PART_ELEMENTS", 40)
        yield


@dataclass(frozen=True)
class Case:
    """Shapes and the mask, true where a query attends to a key, `(batch, heads, n, m)`."""

    batch: int
    heads: int
    queries: int
    keys: int
    mask: str

    @property
    def attended(self) -> int:
        shape = (self.batch, self.heads, self.queries, self.keys)
        return int(MASKS[self.mask](self).expand(shape).sum())

    @property
    def all_pairs(self) -> int:
        return self.batch * self.heads * self.queries * self.keys


def _positions(case: Case) -> tuple[Tensor, Tensor]:
    return torch.arange(case.queries)[:, None], torch.arange(case.keys)[None]


def _causal(case: Case) -> Tensor:
    query, key = _positions(case)
    return key <= query + (case.keys - case.queries)


def _window(case: Case) -> Tensor:
    query, key = _positions(case)
    return (query - key).abs() <= 2


def _of_head(case: Case) -> Tensor:
    query, key = _positions(case)
    return (query - key).abs() <= torch.arange(case.heads)[:, None, None]


def _documents(case: Case) -> Tensor:
    query, key = _positions(case)
    return (query // 3 == key // 3) & (key % 5 != 1)


def _padding(case: Case) -> Tensor:
    """The last queries and keys of each sequence are padding: whole rows are hidden."""
    lengths = torch.arange(case.batch)[:, None, None, None] + 2
    query, key = _positions(case)
    return (key < lengths) & (query < lengths)


def _triangle(case: Case) -> Tensor:
    return torch.ones(case.queries, case.keys, dtype=torch.bool).tril(1).triu(-3)


def _table(case: Case) -> Tensor:
    numbers = torch.arange(case.queries * case.keys) * 7919 % 13
    return (numbers < 5).reshape(case.queries, case.keys)


MASKS: dict[str, Callable[[Case], Tensor]] = {
    "causal": _causal,
    "window": _window,
    "of_head": _of_head,
    "documents": _documents,
    "padding": _padding,
    "triangle": _triangle,
    "table": _table,
}

cases = st.builds(
    Case,
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from(sorted(MASKS)),
)


def _fill(scores: Tensor, mask: Tensor) -> Tensor:
    return scores.masked_fill(~mask, -torch.inf)


def _fill_in_place(scores: Tensor, mask: Tensor) -> Tensor:
    return (scores * 2).masked_fill_(~mask, torch.finfo(scores.dtype).min)


def _add_least(scores: Tensor, mask: Tensor) -> Tensor:
    least = torch.finfo(scores.dtype).min
    return scores + torch.where(mask, torch.tensor(0.0), torch.tensor(least))


def _add_penalty(scores: Tensor, mask: Tensor) -> Tensor:
    return scores + (1.0 - mask.float()) * -10000.0


def _where(scores: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, torch.tanh(scores / 30) * 30, torch.full((), -1e30))


def _two_masks(scores: Tensor, mask: Tensor) -> Tensor:
    halves = torch.arange(mask.shape[-1]) % 2 == 0
    return _add_least(_add_least(scores, mask | halves), mask | ~halves)


def _with_bias(scores: Tensor, mask: Tensor) -> Tensor:
    return _fill(scores + torch.randn(scores.shape[-2:]), mask)


APPLIED = {
    "fill": _fill,
    "fill_in_place": _fill_in_place,
    "add_least": _add_least,
    "add_penalty": _add_penalty,
    "where": _where,
    "two_masks": _two_masks,
    "with_bias": _with_bias,
}


def _same(scores: Tensor) -> Tensor:
    return scores


def _heads_merged(scores: Tensor) -> Tensor:
    swapped = scores.flatten(0, 1).transpose(0, 1).contiguous().unsqueeze_(0)
    return swapped.transpose_(1, 2)[0]


def _with_sink(scores: Tensor) -> Tensor:
    sink = torch.randn(scores.shape[1])[None, :, None, None].expand(*scores.shape[:-1], 1)
    return torch.cat([scores, sink], dim=-1) - scores.amax(-1, keepdim=True)


def _skewed(scores: Tensor) -> Tensor:
    """Longformer's trick: a column more, then rows that begin one element later each."""
    n, m = scores.shape[-2:]
    padded = functional.pad(scores, (0, 1, 0, 1), value=-torch.inf)
    return padded.flatten(2).view(*scores.shape[:2], m + 1, n + 1)


def _copied_in_parts(scores: Tensor) -> Tensor:
    copy = torch.full_like(scores, -torch.inf)
    middle = scores.shape[-2] // 2
    copy[:, :, :middle] = scores[:, :, :middle]
    copy.transpose(-1, -2)[..., middle:] = scores.transpose(-1, -2)[..., middle:]
    return copy.to(torch.float64)


def _copied_in_steps(scores: Tensor) -> Tensor:
    copy = torch.full_like(scores, -torch.inf)
    copy[..., ::2] = scores[..., ::2]
    copy[:, :, 1::2, 1::2] = scores[:, :, 1::2, 1::2]
    copy[:, :, ::2, 1::2] = scores[:, :, ::2, 1::2]
    return copy


def _rolled(scores: Tensor) -> Tensor:
    return torch.stack([scores.roll(2, -1), scores.flip(-2).roll(1, -2)])[0]


def _in_chunks(scores: Tensor) -> Tensor:
    return torch.cat([part * 1.5 for part in scores.split(2, dim=-1)], dim=-1)


LAYOUTS = {
    "same": _same,
    "heads_merged": _heads_merged,
    "with_sink": _with_sink,
    "skewed": _skewed,
    "copied_in_parts": _copied_in_parts,
    "copied_in_steps": _copied_in_steps,
    "rolled": _rolled,
    "in_chunks": _in_chunks,
}


def _calls(run: Callable[[], object]) -> AttentionCalls:
    with fake_mode(), torch.no_grad():
        return attention_calls(run)


def _call(run: Callable[[], object]) -> AttentionCall:
    calls = _calls(run)
    assert not calls.unrecognised
    (call,) = calls.calls
    return call


def _scores(case: Case) -> Tensor:
    query = torch.randn(case.batch, case.heads, case.queries, HEAD_DIM)
    key = torch.randn(case.batch, case.heads, case.keys, HEAD_DIM)
    return query @ key.mT


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=6)
@given(cases, st.sampled_from(sorted(APPLIED)))
def test_eager_pairs_are_those_of_the_mask(layout: str, case: Case, applied: str) -> None:
    def run() -> None:
        masked = APPLIED[applied](_scores(case), MASKS[case.mask](case))
        weights = functional.dropout(LAYOUTS[layout](masked).softmax(-1).float(), 0.1)
        weights @ torch.randn(weights.shape[-1], VALUE_DIM)

    call = _call(run)
    assert call.implementation == "eager"
    assert (call.attended_pairs, call.executed_pairs) == (case.attended, case.all_pairs)


@settings(max_examples=40)
@given(cases, st.sampled_from(["true", "-inf", "least", "half"]))
def test_fused_pairs_are_those_of_the_mask(case: Case, kind: str) -> None:
    def run() -> None:
        mask = MASKS[case.mask](case)
        if kind != "true":
            least = -torch.inf if kind == "-inf" else torch.finfo(torch.float32).min
            mask = torch.zeros(mask.shape).masked_fill(~mask, least / (2 if kind == "half" else 1))
        functional.scaled_dot_product_attention(*_heads(case), mask)

    call = _call(run)
    assert call.implementation == "scaled_dot_product_attention"
    assert (call.attended_pairs, call.executed_pairs) == (case.attended, case.all_pairs)


def _heads(case: Case, kv_heads: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    query = torch.randn(case.batch, case.heads, case.queries, HEAD_DIM)
    key, value = (
        torch.randn(case.batch, kv_heads or case.heads, case.keys, HEAD_DIM) for _ in range(2)
    )
    return query, key, value


@pytest.mark.parametrize(("queries", "keys"), [(7, 7), (4, 9), (9, 4)])
@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
def test_causal_attention_begins_with_the_first_query_and_key(
    queries: int, keys: int, backend: SDPBackend
) -> None:
    case = Case(2, 4, queries, keys, "causal")

    def run() -> None:
        with sdpa_kernel([backend, SDPBackend.MATH]):
            functional.scaled_dot_product_attention(
                *_heads(case, kv_heads=2), is_causal=True, enable_gqa=True
            )

    call = _call(run)
    assert call.attended_pairs == 8 * sum(min(query + 1, keys) for query in range(queries))
    assert (call.heads, call.kv_heads) == (4, 2)
    assert call.implementation == "scaled_dot_product_attention"
