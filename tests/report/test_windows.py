"""Sentences and table of `attnprof windows`, on literal layers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from attnprof.analysis.windows import LayerAttention, Mask, ModelWindows, WindowsTable, find
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Case, Workload
from attnprof.report.window_sentences import sentences
from attnprof.report.windows import render_windows, render_windows_markdown

N = 1000
DENSE = N * N


def layer(
    path: str, mask: Mask, attended: int | None, executed: int = DENSE, window: int | None = None
) -> LayerAttention:
    return LayerAttention(
        layer=path,
        implementation="eager",
        declared="sliding_window" if window else "",
        declared_size=window,
        reach=window,
        mask=mask,
        is_dense=executed == DENSE,
        attended_pairs=attended,
        executed_pairs=executed,
        useful_macs=None if attended is None else 2 * attended,
        executed_macs=2 * executed,
        detail="" if attended is not None else "its mask depends on data",
    )


def model(layers: Sequence[LayerAttention], flex: Sequence[LayerAttention] = ()) -> ModelWindows:
    workload = Workload(AttentionPattern.dense(1), N, 8)
    return ModelWindows(
        case=Case("net", workload), layers=tuple(layers), with_flex=tuple(flex), total_macs=10**8
    )


def windowed(index: int, executed: int = DENSE) -> LayerAttention:
    return layer(f"layers.{index}.attn", "window", DENSE // 10, executed, window=100)


def causal(index: int, executed: int = DENSE, window: int | None = None) -> LayerAttention:
    return layer(f"layers.{index}.attn", "causal", DENSE // 2, executed, window)


MIXED = [windowed(0), windowed(1), causal(2), windowed(3), windowed(4), causal(5)]
FLEX = [replace(one, executed_macs=2 * (one.attended_pairs or 0) * 3) for one in MIXED]


def test_windows_and_causal_layers_are_told_apart() -> None:
    assert sentences(model(MIXED, FLEX)) == [
        (
            "4 of 6 layers mask a dense product: at 1,000 tokens 10.0x the attention that their "
            "windows need; under `flex_attention` 3.00x."
        ),
        (
            "2 of 6 layers let all causal pairs through and execute 2.00x those; under "
            "`flex_attention` 3.00x."
        ),
        "All attention together is 12.0 % of the 100.0 MMac of a forward pass.",
    ]


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (
            [windowed(0)],
            "The only layer masks a dense product: at 1,000 tokens 10.0x",
        ),
        ([windowed(0, DENSE // 5)], "The only layer skips what is outside: at 1,000 tokens 2.00x"),
        (
            [causal(0, window=100)],
            "is not applied: at 1,000 tokens its mask lets all pairs of",
        ),
        (
            [causal(0, window=2000)] * 2,
            "a window (sliding_window 2,000) that hides nothing",
        ),
        (
            [causal(0, DENSE // 2)],
            "lets all causal pairs through and executes 1.00x",
        ),
        (
            [layer("a", "full", DENSE)],
            "attends to all pairs and executes 1.00x those",
        ),
        ([layer("a", "other", 1000)], "has a mask of another kind: 1,000x what it lets through"),
        ([layer("a", "unknown", None)], "has a mask that is not known: its mask depends on data."),
        ([], "It computes no attention that could be followed."),
    ],
)
def test_what_is_said_of_one_kind_of_layer(layers: list[LayerAttention], said: str) -> None:
    assert said in sentences(model(layers))[0]


def test_each_layer_is_in_one_finding_beside_a_window_that_is_too_long() -> None:
    layers = [
        *(windowed(0), windowed(1, 5), causal(2), causal(3, window=50), causal(4, window=5000)),
        *(layer("a", "full", DENSE), layer("b", "other", 7), layer("c", "unknown", None)),
    ]
    found = find(model(layers))
    sums = (found.masked, found.skipping, found.causal, found.full)
    others = (found.not_applied, found.other, found.unknown)
    placed = [one for some in (*sums, *others) for one in some.layers]
    assert sorted(one.layer for one in placed) == sorted(one.layer for one in layers)
    assert [one.layer for one in found.too_long.layers] == ["layers.4.attn"]
    assert found.unknown.ratio is None
    assert found.masked.ratio == 10


def test_equal_layers_are_one_row_that_adds_up() -> None:
    text = render_windows(WindowsTable([model(MIXED, FLEX)], []), 80).plain
    rows = [re.split(r"  +", line.strip()) for line in text.splitlines()]
    assert ["0-1, 3-4", "sliding_window 100", "400.0 K", "4.000 M", "10.0x", "3.00x"] in rows
    assert ["2, 5", "none; causal", "1.000 M", "2.000 M", "2.00x", "3.00x"] in rows
    assert ["all", "6 layers", "1.400 M", "6.000 M", "4.29x", "3.00x"] in rows
    assert max(map(len, text.splitlines())) <= 80


def test_layers_of_two_towers_keep_their_paths() -> None:
    layers = [
        *(replace(causal(i), layer=f"decoder.layers.{i}.self_attn") for i in range(2)),
        *(layer(f"decoder.layers.{i}.encoder_attn", "full", DENSE) for i in range(2)),
        *(replace(windowed(i), layer=f"encoder.layers.{i}.self_attn") for i in range(2)),
    ]
    text = render_windows(WindowsTable([model(layers)], []), 120).plain
    for name in ("decoder.layers 0-1 self_attn", "decoder.layers 0-1 encoder_attn"):
        assert f"\n{name}  " in text
    assert "with" not in text.splitlines()[-9]  # no run with FlexAttention, no column for it


def test_many_models_have_one_sentence_and_one_row_each() -> None:
    table = WindowsTable([model(MIXED, FLEX)] * 5, [])
    lines = render_windows(table, 80).plain.splitlines()
    assert len(lines) <= 32
    assert sum(line.startswith("net, 1,000 tokens  6 layers") for line in lines) == 5
    assert len(render_windows(table, 80, has_details=True).plain.splitlines()) > 60


def test_markdown_has_a_table_for_each_model() -> None:
    text = render_windows_markdown(WindowsTable([model(MIXED, FLEX), model([windowed(0)])], []))
    assert text.count("| layers | window |") == 2
    assert "| 0-1, 3-4 | sliding_window 100 | 400.0 K | 4.000 M | 10.0x | 3.00x |" in text
    assert text.count("with flex") == 1
