"""Patterns from text and back."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from attnprof import AttentionPattern, AttentionStack
from attnprof.core.errors import UsageError
from attnprof.core.notation import (
    Window,
    format_dilation,
    format_global_tokens,
    format_window,
    layer_pattern,
    parse_dilation,
    parse_global_tokens,
    parse_window,
)

window = st.one_of(
    st.integers(1, 6).map(lambda half: 2 * half),
    st.tuples(st.integers(0, 5), st.integers(6, 9)),
    st.none(),
)

windows = st.lists(window, min_size=1, max_size=6)

strides = st.lists(st.integers(1, 4), min_size=4, max_size=4)


@given(windows, st.data(), st.lists(st.integers(0, 30), max_size=4))
def test_formatted_patterns_are_parsed_back(
    chosen: list[Window], data: st.DataObject, positions: list[int]
) -> None:
    assume(any(chosen))
    layers = tuple(
        layer_pattern(window, data.draw(strides), positions, num_heads=4, causal=False)
        for window in chosen
    )
    pattern = layers[0] if len(layers) == 1 else AttentionStack(layers=layers)
    assert parse_window(format_window(pattern)) == tuple(chosen)
    parsed = parse_dilation(format_dilation(pattern), 4, len(layers))
    sparse = [index for index, layer in enumerate(layers) if not layer.is_dense]
    assert [parsed[index] for index in sparse] == [layers[index].dilation for index in sparse]
    parsed_positions = parse_global_tokens(format_global_tokens(pattern))
    assert parsed_positions == layers[sparse[0]].global_positions


def test_documented_notation_is_parsed() -> None:
    assert parse_window("32:64:128") == (32, 64, 128)
    assert parse_window("255+0") == ((255, 0),)
    assert parse_window("512x2:full") == (512, 512, None)
    assert parse_window("511", causal=True) == (511,)
    assert parse_dilation("1x10:4x2", 12, 1) == ((1,) * 10 + (4, 4),)
    assert parse_dilation("4", 3, 2) == ((4, 4, 4), (4, 4, 4))
    assert parse_global_tokens("1") == (0,)
    assert parse_global_tokens("0") == ()
    assert parse_global_tokens("@0:17:40") == (0, 17, 40)


def test_dense_layers_have_no_notation() -> None:
    dense = AttentionPattern.dense(4)
    assert (format_window(dense), format_dilation(dense), format_global_tokens(dense)) == (
        "",
        "",
        "",
    )


@pytest.mark.parametrize("text", ["511", "0", "-2", "", "32:", "32:63", "a", "8x99999999", "8x0"])
def test_invalid_windows_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_window(text)
    assert raised.value.argument == "window"


@pytest.mark.parametrize("text", ["0", "1x5:4x2", "", "-1", "1/2", "1x12/1x12/1x12"])
def test_invalid_dilations_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_dilation(text, num_heads=12, num_layers=1)
    assert raised.value.argument == "dilation"


@pytest.mark.parametrize("text", ["-1", "@", "@1:", "@-3", "x", ""])
def test_invalid_global_tokens_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_global_tokens(text)
    assert raised.value.argument == "global_tokens"
