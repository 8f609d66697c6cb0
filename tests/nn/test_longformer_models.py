"""`LongformerSelfAttention` in transformers' models, in place of the class of that name."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from longformer_layers import SAME, WINDOWS, config, error
from torch import Tensor, nn
from torch.nn.utils import prune
from transformers import (
    BertConfig,
    BertModel,
    LongformerForMaskedLM,
    LongformerForMultipleChoice,
    LongformerForQuestionAnswering,
    LongformerForSequenceClassification,
    LongformerForTokenClassification,
    LongformerModel,
)
from transformers.models.longformer import modeling_longformer

from attnprof import AttentionPattern, LongformerSelfAttention, Workload, kernels
from attnprof.counting.operator_counts import count_operators
from attnprof.nn import longformer

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


def test_a_failed_replacement_leaves_the_model_unchanged() -> None:
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


def test_requesting_attention_weights_of_a_replaced_model_is_an_error() -> None:
    model = LongformerModel(config())
    LongformerSelfAttention.replace_in(model)
    with pytest.raises(ValueError, match="output_attentions"):
        model(**batch_for(model), output_attentions=True)


def test_the_module_does_not_import_transformers() -> None:
    assert "transformers" not in vars(longformer)


class Adapted(nn.Module):
    """A projection with a low-rank adapter, as in LoRA."""

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
def test_modified_projections_are_called(change: str) -> None:
    torch.manual_seed(0)
    model = LongformerModel(config(), add_pooling_layer=False).eval()
    for module in list(model.modules()):
        if isinstance(module, modeling_longformer.LongformerSelfAttention):
            for name in PROJECTIONS:
                CHANGES[change](module, name)
    ids = torch.randint(3, 50, (2, 40))
    is_global = torch.zeros_like(ids)
    is_global[:, 0] = 1

    def outcome() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            inferred = model(ids, global_attention_mask=is_global).last_hidden_state
        model.zero_grad()
        trained = model(ids, global_attention_mask=is_global).last_hidden_state
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
    for name, gradient in theirs[2].items():  # that of a key's bias is 0 apart from rounding
        assert (gradient - ours[2][name]).abs().max() < SAME * largest, name


def test_a_projection_that_a_hook_stores_is_not_overwritten() -> None:
    model = LongformerModel(config(), add_pooling_layer=False).eval()
    LongformerSelfAttention.replace_in(model)
    layer = model.encoder.layer[0].attention.self
    stored: list[Tensor] = []
    layer.query.register_forward_hook(lambda module, args, output: stored.extend([args[0], output]))
    with torch.no_grad():
        model(torch.randint(3, 50, (1, 40)))
    hidden, query = stored
    assert torch.equal(query, nn.functional.linear(hidden, layer.query.weight, layer.query.bias))


def test_hooks_of_the_layer_itself_keep_working_and_can_be_removed() -> None:
    model = LongformerModel(config(), add_pooling_layer=False).eval()
    lengths: list[int] = []
    handle = model.encoder.layer[0].attention.self.register_forward_hook(
        lambda module, args, output: lengths.append(output[0].shape[1])
    )
    LongformerSelfAttention.replace_in(model)
    ids = torch.randint(3, 50, (1, 40))
    model(ids)
    handle.remove()
    model(ids)
    assert len(lengths) == 1


def test_quantised_projections_and_an_overridden_forward_are_refused_by_name() -> None:
    model = LongformerModel(config(), add_pooling_layer=False).eval()
    quantised = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {nn.Linear})
    with pytest.raises(ValueError, match=r"encoder\.layer\.0\.attention\.self\.query .*quantised"):
        LongformerSelfAttention.replace_in(quantised)

    class Other(modeling_longformer.LongformerSelfAttention):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return super().forward(*args, **kwargs)

    subclassed = copy.deepcopy(model)
    subclassed.encoder.layer[1].attention.self.__class__ = Other
    patched = copy.deepcopy(model)
    patched.encoder.layer[1].attention.self.forward = lambda *args, **kwargs: None
    for changed in (subclassed, patched):
        with pytest.raises(ValueError, match=r"layer\.1\.attention\.self .*overrides forward"):
            LongformerSelfAttention.replace_in(changed)
        first = changed.encoder.layer[0].attention.self
        assert isinstance(first, modeling_longformer.LongformerSelfAttention)


def test_ignored_hooks_do_not_change_the_executed_products() -> None:
    workload = Workload(AttentionPattern.sliding(16, 1, (0,), num_heads=4), 256, 64)
    call = kernels.find("longformer-banded").build(workload)
    attention = next(m for m in call.module.modules() if isinstance(m, LongformerSelfAttention))
    attention.key_global.register_forward_hook(lambda *_: None)
    executed = kernels.find("longformer-banded").executed_macs(workload)
    assert count_operators(call.run).complete_macs == executed
    attention.ignores_hooks = False
    assert count_operators(call.run).complete_macs > executed
