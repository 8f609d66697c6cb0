"""`LongformerSelfAttention` against transformers', and its additional features."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from attention_reference import reference_attention
from hypothesis import given, settings
from hypothesis import strategies as st
from longformer_layers import SAME, SAME_GRADIENTS, WINDOWS, config, error, gradients
from torch import Tensor, nn
from transformers.models.longformer import modeling_longformer

from attnprof import LongformerSelfAttention
from attnprof.core.global_queries import GlobalQueries


def both_layers(dtype: torch.dtype = torch.float32, layer_id: int = 0) -> tuple[Any, Any]:
    """Our layer and transformers' with the same state dict; biases are not 0, as by default."""
    torch.manual_seed(0)
    theirs = modeling_longformer.LongformerSelfAttention(config(), layer_id).to(dtype).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.2)
    ours = LongformerSelfAttention(config(), layer_id).to(dtype).eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def hidden_states(
    batch: int, seq_len: int, dtype: torch.dtype = torch.float32, width: int = 48
) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, seq_len, width, generator=generator, dtype=dtype).requires_grad_()


@st.composite
def masks(draw: st.DrawFn) -> Tensor:
    """Attention masks: below 0 at padding, which is at the end, above 0 at global tokens, else 0.

    Lengths are multiples of the window, as transformers' layer requires.
    """
    batch, seq_len = draw(st.integers(1, 3)), WINDOWS[0] * draw(st.integers(2, 9))
    mask = torch.zeros(batch, seq_len)
    for row in mask:
        kept = draw(st.integers(1, seq_len))
        for position in draw(st.lists(st.integers(0, kept - 1), max_size=6)):
            row[position] = 10000.0
        row[kept:] = -10000.0
    return mask


def as_the_model_calls(layer: nn.Module, hidden: Tensor, mask: Tensor) -> Tensor:
    is_global = mask > 0
    return layer(hidden, mask, mask < 0, is_global, bool(is_global.any()), False)[0]


@given(masks())
@settings(max_examples=80)
def test_layer_equals_transformers_layer(mask: Tensor) -> None:
    ours, theirs = both_layers()
    hidden = hidden_states(*mask.shape)
    output, expected = (as_the_model_calls(layer, hidden, mask) for layer in (ours, theirs))
    assert error(output, expected) < SAME
    for own, other in zip(
        gradients(output, hidden, ours), gradients(expected, hidden, theirs), strict=True
    ):
        assert error(own, other) < SAME_GRADIENTS


@given(masks())
@settings(max_examples=30)
def test_inference_equals_training(mask: Tensor) -> None:
    ours, _ = both_layers(torch.float64)
    hidden = hidden_states(*mask.shape, dtype=torch.float64)
    with torch.inference_mode():
        output = as_the_model_calls(ours, hidden, mask)
    assert error(output, as_the_model_calls(ours, hidden, mask)) < 1e-13


def test_mask_alone_is_enough_and_flags_take_precedence() -> None:
    ours, _ = both_layers()
    hidden, mask = hidden_states(2, 40), torch.zeros(2, 40)
    mask[:, 0], mask[0, 30:], mask[1, 7] = 1.0, -1.0, 1.0
    expected = as_the_model_calls(ours, hidden, mask)
    assert torch.equal(ours(hidden, mask)[0], expected)
    flags = {"is_index_masked": mask < 0, "is_index_global_attn": mask > 0}
    assert torch.equal(ours(hidden, **flags)[0], expected)
    assert torch.equal(ours(hidden, -mask, **flags)[0], expected)
    no_globals = ours(hidden, mask, is_global_attn=False)[0]
    assert torch.equal(no_globals, ours(hidden, mask.clamp(max=0.0))[0])
    assert not torch.equal(no_globals, expected)


def test_positions_replace_masks() -> None:
    ours, _ = both_layers()
    hidden, mask = hidden_states(2, 40), torch.zeros(2, 40)
    mask[:, 0], mask[1, 7] = 1.0, 1.0
    expected = ours(hidden, mask)[0]
    for positions in ([[0], [0, 7]], [(0,), (7, 0)], mask > 0):
        assert torch.equal(ours(hidden, global_positions=positions)[0], expected)
    padded = torch.arange(40).expand(2, 40) > 33
    assert torch.equal(
        ours(hidden, is_index_masked=padded, global_positions=[0])[0],
        ours(hidden, torch.zeros(2, 40).masked_fill(padded, -1) + (torch.arange(40) == 0))[0],
    )
    with pytest.raises(ValueError, match="global_positions 40: is outside a sequence of 40 tokens"):
        ours(hidden, global_positions=[40])


@pytest.mark.parametrize("seq_len", [1, 5, 8, 39, 40, 41])
def test_no_length_needs_padding(seq_len: int) -> None:
    """Equal to the first tokens of a padded sequence."""
    ours, theirs = both_layers()
    hidden = hidden_states(2, 48)
    mask = torch.zeros(2, 48)
    mask[:, 0], mask[:, seq_len:] = 1.0, -1.0
    expected = as_the_model_calls(theirs, hidden, mask)[:, :seq_len]
    output = as_the_model_calls(ours, hidden[:, :seq_len], mask[:, :seq_len])
    assert error(output, expected) < SAME


def reference(layer: LongformerSelfAttention, hidden: Tensor, positions: Sequence[int]) -> Tensor:
    """The output by the layer's weights and the enumerated mask."""

    def project(name: str) -> Tensor:
        projected = getattr(layer, name)(hidden)
        return projected.unflatten(-1, (layer.num_heads, -1)).transpose(1, 2)

    names = ("query", "key", "value")
    attended = reference_attention(
        *map(project, names),
        window=layer.window,
        dilation=layer.dilation,
        positions=[positions] * len(hidden),
        of_globals=[project(f"{name}_global") for name in names],
    )
    return attended.transpose(1, 2).flatten(2)


@pytest.mark.parametrize("dilation", [1, 3, (1, 1, 2, 4)], ids=str)
@pytest.mark.parametrize("globals_", [0, 1, 2, 30], ids="g{}".format)
def test_dilation_and_global_tokens_with_projected_or_absorbed_keys(
    dilation: Any, globals_: int
) -> None:
    torch.manual_seed(0)
    layer = LongformerSelfAttention(config(), 1, dilation=dilation).double()
    hidden = hidden_states(2, 70, dtype=torch.float64)
    positions = tuple(range(0, 70, 2))[:globals_]
    output, expected = (
        layer(hidden, global_positions=positions)[0],
        reference(layer, hidden, positions),
    )
    assert error(output, expected) < 1e-12
    for own, other in zip(
        gradients(output, hidden, layer), gradients(expected, hidden, layer), strict=True
    ):
        assert error(own, other) < 1e-11


def test_few_global_tokens_absorb_the_projections_and_many_do_not() -> None:
    of_layer = {"seq_len": 70, "hidden_size": 48, "num_heads": 4, "kv_heads": 4}
    for count, is_absorbed in ((1, True), (2, True), (30, False)):
        queries = GlobalQueries(num_globals=count, head_dim=12, value_dim=12, **of_layer)
        assert queries.is_absorbed == is_absorbed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_dtypes(dtype: torch.dtype) -> None:
    layer, _ = both_layers(torch.float64)
    hidden = hidden_states(2, 70, dtype=torch.float64)
    expected = layer(hidden, global_positions=[0, 33])[0]
    output = copy.deepcopy(layer).to(dtype)(hidden.to(dtype), global_positions=[0, 33])[0]
    assert output.dtype == dtype
    assert error(output, expected) < (1e-5 if dtype == torch.float32 else 0.03)


def test_signatures_are_transformers_own() -> None:
    theirs = modeling_longformer.LongformerSelfAttention
    for method in ("__init__", "forward"):
        expected = list(inspect.signature(getattr(theirs, method)).parameters)
        ours = inspect.signature(getattr(LongformerSelfAttention, method)).parameters
        positional = [name for name, one in ours.items() if one.kind != one.KEYWORD_ONLY]
        assert positional == expected


def test_requesting_attention_weights_is_an_error() -> None:
    ours, _ = both_layers()
    with pytest.raises(
        ValueError, match="output_attentions True: attention weights are not computed"
    ):
        ours(hidden_states(1, 16), torch.zeros(1, 16), output_attentions=True)


@pytest.mark.parametrize("name", ["attention_mask", "is_index_masked", "is_index_global_attn"])
def test_masks_of_another_shape_are_an_error_with_their_name(name: str) -> None:
    ours, _ = both_layers()
    with pytest.raises(ValueError, match=rf"{name} \(2, 1, 1, 16\): .* \(2, 16\)"):
        ours(hidden_states(2, 16), **{name: torch.zeros(2, 1, 1, 16)})


@pytest.mark.parametrize(
    ("changes", "dilation", "message"),
    [
        ({"num_attention_heads": 5}, 1, "num_attention_heads 5"),
        ({"attention_window": [7, 8]}, 1, "window 7"),
        ({}, 0, "dilation 0"),
        ({}, (1, 2), "dilation"),
    ],
)
def test_constructor_errors_name_the_argument(
    changes: dict[str, Any], dilation: Any, message: str
) -> None:
    settings = config()
    for name, value in changes.items():
        setattr(settings, name, value)
    with pytest.raises(ValueError, match=message):
        LongformerSelfAttention(settings, 0, dilation=dilation)


def test_a_layer_can_be_copied_and_pickled() -> None:
    torch.manual_seed(0)
    layer = LongformerSelfAttention(config(), 0, dilation=(1, 1, 2, 2)).eval()
    hidden = hidden_states(1, 30)
    expected = layer(hidden, global_positions=[0])[0]
    for duplicate in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(duplicate(hidden, global_positions=[0])[0], expected)


def test_layer_compiles_without_graph_breaks_if_positions_are_lists() -> None:
    layer, _ = both_layers()
    hidden = hidden_states(2, 40)
    padded = torch.arange(40).expand(2, 40) > torch.tensor([[39], [30]])
    compiled: Any = torch.compile(layer, backend="aot_eager", fullgraph=True)
    arguments = {"is_index_masked": padded, "global_positions": ((0,), (0, 9))}
    output = compiled(hidden, **arguments)[0]
    expected = layer(hidden, **arguments)[0]
    assert error(output, expected) < 1e-6
    for own, other in zip(
        gradients(output, hidden, layer), gradients(expected, hidden, layer), strict=True
    ):
        assert error(own, other) < 1e-5
