"""`LongformerSelfAttention` in the place of transformers', and with what that one lacks."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from attention_reference import reference_attention
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune
from transformers import (
    BertConfig,
    BertModel,
    LongformerConfig,
    LongformerForMaskedLM,
    LongformerForMultipleChoice,
    LongformerForQuestionAnswering,
    LongformerForSequenceClassification,
    LongformerForTokenClassification,
    LongformerModel,
)
from transformers.models.longformer import modeling_longformer

from attnprof import AttentionPattern, LongformerSelfAttention, Workload, kernels
from attnprof.core.formulas import should_absorb_projection
from attnprof.counting.operator_counts import count_operators
from attnprof.nn import longformer

WINDOWS = (8, 16)

SAME = 1e-5
"""How far float32 may be. In float64 transformers' layer takes the softmax in float32 as well, and
has no gradient where the window of a padded token holds nothing else."""


def config(**changes: Any) -> LongformerConfig:
    return LongformerConfig(
        **{
            "vocab_size": 50,
            "hidden_size": 48,
            "num_hidden_layers": len(WINDOWS),
            "num_attention_heads": 4,
            "intermediate_size": 40,
            "max_position_embeddings": 200,
            "attention_window": list(WINDOWS),
            "attention_probs_dropout_prob": 0.0,
            "hidden_dropout_prob": 0.0,
            "pad_token_id": 1,
            "sep_token_id": 2,
            "initializer_range": 0.2,
        }
        | changes
    )


def error(ours: Tensor, theirs: Tensor) -> float:
    difference = ours.detach().double() - theirs.detach().double()
    return float(difference.abs().max() / theirs.detach().abs().max().clamp(min=1.0))


def both_layers(dtype: torch.dtype = torch.float32, layer_id: int = 0) -> tuple[Any, Any]:
    """transformers' layer, and ours with its state dict; biases are not 0, as they begin."""
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


def gradients(output: Tensor, hidden: Tensor, layer: nn.Module) -> Iterator[Tensor]:
    """Of the input and of every parameter, 0 for those that were not used."""
    sources = [hidden, *layer.parameters()]
    generator = torch.Generator().manual_seed(2)
    weights = torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output.dtype)
    found = torch.autograd.grad(output, sources, weights, allow_unused=True)
    for source, gradient in zip(sources, found, strict=True):
        yield torch.zeros_like(source) if gradient is None else gradient


# The layer against transformers' own, as its model calls it.


@st.composite
def masks(draw: st.DrawFn) -> Tensor:
    """What the layer is given: 0, below 0 at the padding behind, above 0 at global tokens.

    As many tokens as are whole windows, for transformers' layer takes no other number.
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
def test_layer_is_transformers_layer(mask: Tensor) -> None:
    ours, theirs = both_layers()
    hidden = hidden_states(*mask.shape)
    output, expected = (as_the_model_calls(layer, hidden, mask) for layer in (ours, theirs))
    assert error(output, expected) < SAME
    for own, other in zip(
        gradients(output, hidden, ours), gradients(expected, hidden, theirs), strict=True
    ):
        assert error(own, other) < SAME


@given(masks())
@settings(max_examples=30)
def test_inference_is_what_training_computes(mask: Tensor) -> None:
    ours, _ = both_layers(torch.float64)
    hidden = hidden_states(*mask.shape, dtype=torch.float64)
    with torch.inference_mode():
        output = as_the_model_calls(ours, hidden, mask)
    assert error(output, as_the_model_calls(ours, hidden, mask)) < 1e-13


def test_mask_alone_is_enough_and_flags_go_before_it() -> None:
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


def test_positions_in_place_of_masks() -> None:
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
    with pytest.raises(ValueError, match="global_positions 40: outside a sequence of 40 tokens"):
        ours(hidden, global_positions=[40])


@pytest.mark.parametrize("seq_len", [1, 5, 8, 39, 40, 41])
def test_no_length_needs_padding(seq_len: int) -> None:
    """The first tokens of a padded sequence: what the longer one gives there."""
    ours, theirs = both_layers()
    hidden = hidden_states(2, 48)
    mask = torch.zeros(2, 48)
    mask[:, 0], mask[:, seq_len:] = 1.0, -1.0
    expected = as_the_model_calls(theirs, hidden, mask)[:, :seq_len]
    output = as_the_model_calls(ours, hidden[:, :seq_len], mask[:, :seq_len])
    assert error(output, expected) < SAME


def reference(layer: LongformerSelfAttention, hidden: Tensor, positions: Sequence[int]) -> Tensor:
    """By the layer's weights and the mask alone."""

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
def test_dilation_and_both_ways_to_read_for_global_tokens(dilation: Any, globals_: int) -> None:
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
    assert should_absorb_projection(70, 48, 4, 1)
    assert should_absorb_projection(70, 48, 4, 2)
    assert not should_absorb_projection(70, 48, 4, 30)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_types(dtype: torch.dtype) -> None:
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
        own = inspect.signature(getattr(LongformerSelfAttention, method)).parameters
        assert [name for name, one in own.items() if one.kind != one.KEYWORD_ONLY] == expected


def test_weights_are_not_made_up() -> None:
    ours, _ = both_layers()
    with pytest.raises(ValueError, match="output_attentions True: computes no tensor of weights"):
        ours(hidden_states(1, 16), torch.zeros(1, 16), output_attentions=True)


@pytest.mark.parametrize("name", ["attention_mask", "is_index_masked", "is_index_global_attn"])
def test_masks_of_another_shape_are_named(name: str) -> None:
    ours, _ = both_layers()
    with pytest.raises(ValueError, match=rf"{name} \(2, 1, 1, 16\): .* \(2, 16\)"):
        ours(hidden_states(2, 16), **{name: torch.zeros(2, 1, 1, 16)})


@pytest.mark.parametrize(
    ("changes", "dilation", "says"),
    [
        ({"num_attention_heads": 5}, 1, "num_attention_heads 5"),
        ({"attention_window": [7, 8]}, 1, "window 7"),
        ({}, 0, "dilation 0"),
        ({}, (1, 2), "dilation"),
    ],
)
def test_constructor_says_what_is_wrong(changes: dict[str, Any], dilation: Any, says: str) -> None:
    settings = config()
    for name, value in changes.items():
        setattr(settings, name, value)
    with pytest.raises(ValueError, match=says):
        LongformerSelfAttention(settings, 0, dilation=dilation)


def test_a_layer_can_be_copied_and_saved() -> None:
    torch.manual_seed(0)
    layer = LongformerSelfAttention(config(), 0, dilation=(1, 1, 2, 2)).eval()
    hidden = hidden_states(1, 30)
    expected = layer(hidden, global_positions=[0])[0]
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(hidden, global_positions=[0])[0], expected)


def test_layer_compiles_whole_where_positions_are_known() -> None:
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


# Whole models.

MODELS = [
    LongformerModel,
    LongformerForMaskedLM,
    LongformerForSequenceClassification,
    LongformerForTokenClassification,
    LongformerForQuestionAnswering,
    LongformerForMultipleChoice,
]


def batch_for(model: nn.Module) -> dict[str, Tensor]:
    """Three texts of different lengths, none a multiple of the window, questions before them."""
    ids = torch.randint(3, 50, (3, 45), generator=torch.Generator().manual_seed(3))
    ids[:, 0] = 0
    attention = torch.ones_like(ids)
    for row, (question, length) in enumerate(((6, 45), (3, 30), (9, 12))):
        ids[row, question] = ids[row, question + 1] = ids[row, length - 1] = 2
        ids[row, length:] = 1
        attention[row, length:] = 0
    batch = {"input_ids": ids, "attention_mask": attention}
    if isinstance(model, LongformerForMultipleChoice):
        return {name: tensor[:, None].repeat(1, 2, 1) for name, tensor in batch.items()}
    if isinstance(model, LongformerModel | LongformerForMaskedLM):
        of_globals = torch.zeros_like(ids)
        of_globals[0, :7], of_globals[1, 0], of_globals[2, 5] = 1, 1, 1
        batch["global_attention_mask"] = of_globals
    return batch


def outputs(model: nn.Module, batch: dict[str, Tensor]) -> list[Tensor]:
    returned = model(**batch, output_hidden_states=True)
    return [returned[0], *returned.hidden_states]


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_a_model_gives_the_same_outputs_and_gradients(kind: Any) -> None:
    torch.manual_seed(0)
    theirs = kind(config()).eval()
    ours = copy.deepcopy(theirs)
    assert LongformerSelfAttention.replace_in(ours) == len(WINDOWS)
    batch = batch_for(theirs)
    results = [outputs(model, batch) for model in (ours, theirs)]
    for own, other in zip(*results, strict=True):
        assert error(own, other) < 1e-5
    for first, *_ in results:
        first.square().mean().backward()
    for (name, own), (other_name, other) in zip(
        ours.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert name == other_name
        if other.grad is None:
            assert own.grad is None or not own.grad.any(), name
            continue
        assert own.grad is not None, name
        scale = float(other.grad.abs().max())
        assert float((own.grad - other.grad).abs().max()) <= 1e-4 * scale + 1e-6, name


def test_replacing_keeps_parameters_names_flags_and_dropout() -> None:
    model = LongformerModel(config(attention_probs_dropout_prob=0.3)).train()
    parameters = dict(model.named_parameters())
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.encoder.layer[1].attention.self.query.weight.requires_grad_(False)
    model.encoder.layer[1].eval()
    LongformerSelfAttention.replace_in(model, dilation=(1, 1, 2, 3))
    assert all(parameters[name] is one for name, one in model.named_parameters())
    assert list(model.state_dict()) == list(state)
    model.load_state_dict(state)
    first, second = (layer.attention.self for layer in model.encoder.layer)
    assert (first.training, second.training) == (True, False)
    assert (first.dropout, first.dilation, first.window) == (0.3, (1, 1, 2, 3), WINDOWS[0])
    assert second.window == WINDOWS[1]
    assert not second.query.weight.requires_grad


def test_a_replaced_model_trains_with_dropout() -> None:
    torch.manual_seed(0)
    model = LongformerForSequenceClassification(
        config(attention_probs_dropout_prob=0.1, num_labels=3)
    )
    LongformerSelfAttention.replace_in(model, dilation=(1, 1, 2, 2))
    batch = batch_for(model) | {"labels": torch.tensor([0, 1, 2])}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model.train()
    assert not torch.equal(model(**batch).logits, model(**batch).logits), "dropout draws"
    for _ in range(30):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.05
    model.eval()
    assert model(**batch).logits.argmax(-1).tolist() == [0, 1, 2]


def test_gradient_checkpointing_draws_the_same_dropout() -> None:
    def trained(checkpointing: bool) -> Tensor:
        torch.manual_seed(0)
        model = LongformerModel(config(attention_probs_dropout_prob=0.4)).train()
        LongformerSelfAttention.replace_in(model)
        if checkpointing:
            model.gradient_checkpointing_enable()
        torch.manual_seed(5)
        model(**batch_for(model)).last_hidden_state.square().mean().backward()
        gradient = model.encoder.layer[0].attention.self.query.weight.grad
        assert gradient is not None
        return gradient

    assert error(trained(True), trained(False)) < 1e-5


def test_what_cannot_be_replaced_is_an_error_that_leaves_the_model_alone() -> None:
    bert = BertModel(
        BertConfig(
            vocab_size=9,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
        )
    )
    with pytest.raises(ValueError, match="BertModel: has no LongformerSelfAttention"):
        LongformerSelfAttention.replace_in(bert)
    model = LongformerModel(config())
    before = list(model.modules())
    with pytest.raises(ValueError, match="dilation 0"):
        LongformerSelfAttention.replace_in(model, dilation=0)
    assert list(model.modules()) == before
    LongformerSelfAttention.replace_in(model)
    with pytest.raises(ValueError, match="LongformerModel: has no LongformerSelfAttention"):
        LongformerSelfAttention.replace_in(model)


def test_weights_of_a_replaced_model_are_an_error() -> None:
    model = LongformerModel(config())
    LongformerSelfAttention.replace_in(model)
    with pytest.raises(ValueError, match="output_attentions"):
        model(**batch_for(model), output_attentions=True)


def test_module_file_needs_no_transformers_before_replacing() -> None:
    assert "transformers" not in vars(longformer)


class Adapted(nn.Module):
    """A projection with a low-rank adapter beside it, as LoRA draws it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, 3, bias=False)
        self.up = nn.Linear(3, base.out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))


def _hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    return output * 1.5 + 0.25


def _before(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
    return (args[0] * 0.5,)


def _own_forward(projection: nn.Module) -> None:
    projection.forward = lambda x: nn.functional.linear(x, projection.weight) + x  # type: ignore


CHANGES: dict[str, Any] = {
    "adapter": lambda layer, name: setattr(layer, name, Adapted(getattr(layer, name))),
    "hook": lambda layer, name: getattr(layer, name).register_forward_hook(_hook),
    "pre-hook": lambda layer, name: getattr(layer, name).register_forward_pre_hook(_before),
    "weight norm": lambda layer, name: nn.utils.parametrizations.weight_norm(getattr(layer, name)),
    "pruning": lambda layer, name: prune.l1_unstructured(getattr(layer, name), "weight", 0.5),
    "forward": lambda layer, name: _own_forward(getattr(layer, name)),
    "no bias": lambda layer, name: setattr(layer, name, nn.Linear(48, 48, bias=False)),
}
PROJECTIONS = ("query", "key", "value", "query_global", "key_global", "value_global")


@pytest.mark.parametrize("change", list(CHANGES))
def test_projections_are_called_whatever_was_made_of_them(change: str) -> None:
    torch.manual_seed(0)
    model = LongformerModel(config(), add_pooling_layer=False).eval()
    for module in list(model.modules()):
        if isinstance(module, modeling_longformer.LongformerSelfAttention):
            for name in PROJECTIONS:
                CHANGES[change](module, name)
    ids = torch.randint(3, 50, (2, 40))
    marks = torch.zeros_like(ids)
    marks[:, 0] = 1

    def outcome() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            inferred = model(ids, global_attention_mask=marks).last_hidden_state
        model.zero_grad()
        trained = model(ids, global_attention_mask=marks).last_hidden_state
        (trained * torch.linspace(-1, 1, 48)).sum().backward()
        gradients = {
            name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None
        }
        return inferred, trained, gradients

    theirs = outcome()
    assert LongformerSelfAttention.replace_in(model) == len(WINDOWS)
    ours = outcome()
    for before, after in zip(theirs[:2], ours[:2], strict=True):
        assert (before - after).abs().max() < SAME
    assert set(theirs[2]) == set(ours[2])
    largest = max(float(gradient.abs().max()) for gradient in theirs[2].values())
    for name, gradient in theirs[2].items():  # that of a key's bias is 0, but for rounding
        assert (gradient - ours[2][name]).abs().max() < SAME * largest, name


def test_what_a_hook_keeps_of_a_projection_is_not_overwritten() -> None:
    model = LongformerModel(config(), add_pooling_layer=False).eval()
    LongformerSelfAttention.replace_in(model)
    layer = model.encoder.layer[0].attention.self
    kept: list[Tensor] = []
    layer.query.register_forward_hook(lambda module, args, output: kept.extend([args[0], output]))
    with torch.no_grad():
        model(torch.randint(3, 50, (1, 40)))
    hidden, query = kept
    assert torch.equal(query, nn.functional.linear(hidden, layer.query.weight, layer.query.bias))


def test_hooks_of_the_layer_itself_keep_working_and_can_be_removed() -> None:
    model = LongformerModel(config(), add_pooling_layer=False).eval()
    seen: list[int] = []
    handle = model.encoder.layer[0].attention.self.register_forward_hook(
        lambda module, args, output: seen.append(output[0].shape[1])
    )
    LongformerSelfAttention.replace_in(model)
    ids = torch.randint(3, 50, (1, 40))
    model(ids)
    handle.remove()
    model(ids)
    assert len(seen) == 1


def test_quantised_projections_and_another_forward_are_refused_by_name() -> None:
    model = LongformerModel(config(), add_pooling_layer=False).eval()
    quantised = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {nn.Linear})
    with pytest.raises(ValueError, match=r"encoder\.layer\.0\.attention\.self\.query .*quantised"):
        LongformerSelfAttention.replace_in(quantised)

    class Other(modeling_longformer.LongformerSelfAttention):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return super().forward(*args, **kwargs)

    own = copy.deepcopy(model)
    own.encoder.layer[1].attention.self.__class__ = Other
    patched = copy.deepcopy(model)
    patched.encoder.layer[1].attention.self.forward = lambda *args, **kwargs: None
    for changed in (own, patched):
        with pytest.raises(ValueError, match=r"layer\.1\.attention\.self .*forward of its own"):
            LongformerSelfAttention.replace_in(changed)
        first = changed.encoder.layer[0].attention.self
        assert isinstance(first, modeling_longformer.LongformerSelfAttention)


def test_hooks_of_a_profiler_change_no_product_where_they_are_ignored() -> None:
    workload = Workload(AttentionPattern.sliding(16, 1, (0,), num_heads=4), 256, 64)
    call = kernels.find("longformer-banded").build(workload)
    attention = next(m for m in call.module.modules() if isinstance(m, LongformerSelfAttention))
    attention.key_global.register_forward_hook(lambda *_: None)
    executed = kernels.find("longformer-banded").executed_macs(workload)
    assert count_operators(call.run).complete_macs == executed
    attention.ignores_hooks = False
    assert count_operators(call.run).complete_macs > executed
