"""Modules that do not run on fake tensors, or not in the same way, against formulas by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from estimate_in_process import estimate
from hard_modules import WIDTH, Padded
from torch import nn
from torch.nn.attention.flex_attention import create_mask

import attnprof
from attnprof import AttentionPattern, Workload, kernels
from attnprof.core.errors import MeasurementError
from attnprof.core.workload import Case
from attnprof.counting import counters, mac_formulas
from attnprof.counting.fake_tensors import fake_mode
from attnprof.counting.operator_counts import count_operators
from attnprof.measure.breakdown import count_case_operators

HEADS = 4


def workload(n: int, batch_size: int = 1, **other: Any) -> Workload:
    pattern = AttentionPattern.dense(HEADS)
    return Workload(pattern, n, hidden_size=WIDTH, batch_size=batch_size, **other)


def macs(name: str, n: int, batch_size: int = 1) -> int:
    return kernels.find(f"hard_modules:{name}").executed_macs(workload(n, batch_size))


def encoder_layer(rows: int, pairs: int) -> int:
    projections = 4 * rows * WIDTH**2
    return projections + 2 * pairs * WIDTH + 2 * rows * WIDTH * (2 * WIDTH)


@pytest.mark.parametrize(
    ("name", "n", "batch_size", "by_hand"),
    [
        ("Latents", 128, 1, 8 * WIDTH**2 + 8 * WIDTH * 128),
        ("Padded", 128, 1, 2 * encoder_layer(64, 64**2)),
        ("Padded", 128, 2, 2 * encoder_layer(64 + 128, 2 * 128**2)),  # scores are as the longest
        ("LowerRight", 128, 1, 2 * 64 * 128 * WIDTH),
        ("UpperLeft", 128, 1, 2 * 128 * 128 * WIDTH),  # one block of keys
        ("Jagged", 48, 2, (48 + 24) * WIDTH**2),
        ("NeedsNumpy", 128, 1, 128 * WIDTH**2),
    ],
)
def test_macs_are_those_by_hand(name: str, n: int, batch_size: int, by_hand: int) -> None:
    assert macs(name, n, batch_size) == by_hand
    counts = count_case_operators(Case(f"hard_modules:{name}", workload(n, batch_size)))
    assert counts.complete_macs == by_hand


@pytest.mark.parametrize("name", ["Latents", "LowerRight"])
def test_counters_agree_on_hard_modules(name: str) -> None:
    """Torch's own tracker of modules raises on the first."""
    kernel = kernels.find(f"hard_modules:{name}")
    counted = {
        counter: counters.find(counter).count(lambda: kernel.build(workload(128)))
        for counter in counters.names()
    }
    assert counted["operator"] == macs(name, 128)
    if name == "Latents":
        assert counted["torch"] == macs(name, 128)


def test_operators_of_nested_tensors_are_counted_where_fake_tensors_have_none() -> None:
    kernel = kernels.find("hard_modules:Padded")
    counted = counters.find("operator").count(lambda: kernel.build(workload(128)))
    assert counted == macs("Padded", 128)


def test_a_subclass_made_by_its_constructor_runs_on_fake_tensors() -> None:
    with fake_mode():
        counts = count_operators(kernels.find("hard_modules:LowerRight").build(workload(128)).run)
    assert counts.complete_macs == macs("LowerRight", 128)


def test_a_custom_operator_without_fake_implementation_is_named_or_counted_by_its_formula(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mac_formulas, "_FORMULAS", dict(mac_formulas._FORMULAS))
    arguments: dict[str, Any] = {
        "kernel": "hard_modules:CustomOperator",
        "len": 128,
        "hidden_size": WIDTH,
        "num_heads": HEADS,
    }
    (row,) = estimate(**arguments).rows
    assert row.status == "ok"
    assert row.integer("executed_macs") is None
    assert "no MAC formula for hard_modules.scores (1 call)" in row.detail
    assert "There was no fake impl registered" in row.detail  # why its peak is unknown
    attnprof.register_mac_formula(
        torch.ops.hard_modules.scores, lambda q, k, **_: q.numel() * k.shape[-2]
    )
    counted = count_case_operators(Case("hard_modules:CustomOperator", workload(128)))
    assert counted.complete_macs == 2 * 128 * 128 * WIDTH
    operator_macs = counters.find("operator").count(
        lambda: kernels.find("hard_modules:CustomOperator").build(workload(128))
    )
    assert operator_macs == 2 * 128 * 128 * WIDTH


def test_a_peak_that_is_unknown_on_fake_tensors_raises_the_reason() -> None:
    with pytest.raises(MeasurementError, match=r"its peak memory is not known: it does not run"):
        kernels.find("hard_modules:Padded").peak_bytes(workload(128))


def test_a_module_that_fails_in_a_real_run_too_raises_its_error() -> None:
    with pytest.raises(RuntimeError, match=r"\[1, 64\] but got: \[1, 127\]"):
        macs("TooShort", 128)


def test_a_module_that_ran_on_fake_tensors_gets_no_real_run_at_a_failing_length() -> None:
    """A table of positions is finite: longer lengths are errors, a real run would not help."""
    built: list[bool] = []

    class Ends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            built.append(type(torch.empty(0)) is torch.Tensor)
            self.table = nn.Parameter(torch.randn(100, WIDTH))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + self.table[: x.shape[1]]) @ x.mT

    from attnprof.kernels.custom import find, registered_object

    with registered_object(Ends, ()) as name:
        target = find(name)
        assert target.executed_macs(workload(50)) == 50 * 50 * WIDTH
        with pytest.raises(RuntimeError):
            target.executed_macs(workload(200))
    assert built
    assert not any(built)


def test_backward_pass_of_an_lstm_takes_twice_its_forward_pass() -> None:
    """One operator in float32 on oneDNN; operators of each step in float64."""

    def counted(dtype: torch.dtype) -> int:
        lstm = nn.LSTM(WIDTH, 32, batch_first=True).to(dtype)
        x = torch.randn(1, 16, WIDTH, dtype=dtype, requires_grad=True)
        return count_operators(lambda: lstm(x)[0].sum().backward()).complete_macs

    forward = 16 * (4 * 32 * WIDTH + 4 * 32 * 32)
    first_state = 2 * 4 * 32 * 32  # has no gradient, and is zero
    assert counted(torch.float64) == 3 * forward - first_state + 4 * 32 * 32
    assert counted(torch.float32) in (3 * forward, counted(torch.float64))


def _block_mask_pairs(mask: torch.Tensor) -> int:
    """Pairs of the blocks of 128 x 128 that hold any pair, each as long as the sequence is."""
    total = 0
    for rows in mask.split(128, 0):
        total += sum(block.numel() for block in rows.split(128, 1) if block.any())
    return total


@pytest.mark.parametrize("n", [1000, 4300])
@pytest.mark.parametrize("name", ["CausalWindow", "Documents"])
def test_block_masks_are_known_at_every_length(name: str, n: int) -> None:
    """Above 4,096 tokens no mask of all pairs is kept."""
    position = torch.arange(n)
    i, j = position[:, None], position[None]
    mask = (i >= j) & (i - j < 100) if name == "CausalWindow" else i // 300 == j // 300
    with fake_mode():
        counts = count_operators(kernels.find(f"hard_modules:{name}").build(workload(n)).run)
    assert counts.complete_macs == 2 * WIDTH * _block_mask_pairs(mask)


def test_a_causal_window_at_8192_tokens() -> None:
    blocks = 2 * 64 - 1  # the diagonal, and what reaches behind it
    assert macs("CausalWindow", 8192) == 2 * WIDTH * blocks * 128**2


def test_a_block_mask_that_depends_on_content_is_counted_in_a_real_run() -> None:
    n = 400
    x = kernels.find("hard_modules:DocumentsByContent").build(workload(n)).kwargs["x"]
    edge = int(x[0, :, 0].argmax()) // 200 * 200 + 100

    def same(b: Any, h: Any, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        return (i >= edge) == (j >= edge)

    pairs = _block_mask_pairs(create_mask(same, None, None, n, n, "cpu")[0, 0])
    assert macs("DocumentsByContent", n) == 2 * WIDTH * pairs


def test_padding_of_nested_sequences_is_counted_only_in_training() -> None:
    """In training torch does not drop padding."""
    trained = kernels.find("hard_modules:Padded").executed_macs(
        replace(workload(128), mode="training")
    )
    inputs = torch.randn(1, 128, WIDTH, requires_grad=True)
    module = Padded().train()
    real = count_operators(lambda: module(inputs).sum().backward()).complete_macs
    assert trained == real
    assert trained == 3 * 2 * encoder_layer(128, 128**2)
