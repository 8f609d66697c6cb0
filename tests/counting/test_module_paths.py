"""Which module an operator belongs to, forward and backward, by the MACs of each module."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
import transformers
from hard_modules import Latents
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import BertModel

from attnprof.counting.fake_tensors import fake_mode
from attnprof.counting.operator_counts import count_operators

WIDTH, ROWS = 4, 3
PRODUCT = ROWS * WIDTH**2
"""MACs of one linear layer, forward."""


def linear() -> nn.Linear:
    return nn.Linear(WIDTH, WIDTH, bias=False)


def macs_by_path(module: nn.Module, *inputs: Tensor) -> dict[str, int]:
    """MACs of forward and backward pass."""

    def run() -> None:
        module(*inputs).sum().backward()

    sums: Counter[str] = Counter()
    for (path, _), tally in count_operators(run).tallies.items():
        sums[path] += tally.macs
    return {path: macs for path, macs in sums.items() if macs}


def rows(*, needs_gradient: bool = True) -> Tensor:
    return torch.randn(ROWS, WIDTH, requires_grad=needs_gradient)


@pytest.mark.parametrize("is_fake", [False, True])
def test_gradients_belong_to_the_module_whose_forward_pass_made_them(is_fake: bool) -> None:
    def macs() -> dict[str, int]:
        return macs_by_path(nn.Sequential(linear(), linear()), rows())

    if is_fake:
        with fake_mode():
            assert macs() == {"0": 3 * PRODUCT, "1": 3 * PRODUCT}
    else:
        assert macs() == {"0": 3 * PRODUCT, "1": 3 * PRODUCT}


def test_no_gradient_of_the_model_input_is_counted() -> None:
    macs = macs_by_path(nn.Sequential(linear(), linear()), rows(needs_gradient=False))
    assert macs == {"0": 2 * PRODUCT, "1": 3 * PRODUCT}


def test_query_key_and_value_cost_three_times_their_forward_pass() -> None:
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    ids = torch.zeros(1, 10, dtype=torch.int64)
    model = BertModel(config)
    sums: Counter[str] = Counter()
    counts = count_operators(lambda: model(ids).last_hidden_state.sum().backward())
    for (path, _), tally in counts.tallies.items():
        sums[path] += tally.macs
    for name in ("query", "key", "value"):
        assert sums[f"encoder.layer.0.attention.self.{name}"] == 3 * 10 * 16**2
    assert sums["encoder.layer.0.intermediate.dense"] == 3 * 10 * 16 * 32


class Holder(nn.Module):
    def __init__(self, held: nn.Module) -> None:
        super().__init__()
        self.held = held

    def forward(self, x: Tensor) -> Any:
        return self.held(x)


class Shares(nn.Module):
    """One linear layer, called by two modules that contain it, and by their parent."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = linear()
        self.first = Holder(self.linear)
        self.second = Holder(nn.ModuleList([self.linear])[0])

    def forward(self, x: Tensor) -> Any:
        return self.linear(self.second(self.first(self.first(x))))


def test_a_shared_module_has_one_path_per_caller() -> None:
    assert macs_by_path(Shares(), rows()) == {
        "first.held": 2 * 3 * PRODUCT,
        "second.held": 3 * PRODUCT,
        "linear": 3 * PRODUCT,
    }


class Borrows(nn.Module):
    def forward(self, module: nn.Module, x: Tensor) -> Any:
        return module(x)


class Lends(nn.Module):
    """One module is called by another that does not contain it; one is contained in none."""

    def __init__(self) -> None:
        super().__init__()
        self.lent = linear()
        self.borrows = Borrows()
        self.hidden = [linear()]

    def forward(self, x: Tensor) -> Any:
        return self.hidden[0](self.borrows(self.lent, x))


def test_a_module_outside_its_caller_is_named_after_it() -> None:
    assert macs_by_path(Lends(), rows()) == {
        "borrows.lent": 3 * PRODUCT,
        "Linear": 3 * PRODUCT,
    }


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.before, self.inner, self.after = linear(), Holder(nn.Sequential(linear())), linear()
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Any:
        x = checkpoint(self.inner, self.before(x), use_reentrant=self.reentrant)
        return self.after(x)


def test_recomputation_in_a_checkpoint_belongs_to_the_original_module() -> None:
    again = {"before": 3 * PRODUCT, "inner.held.0": 4 * PRODUCT, "after": 3 * PRODUCT}
    assert macs_by_path(Checkpointed(True), rows()) == again
    # The non-reentrant variant stops before the last product, whose result is not needed.
    assert macs_by_path(Checkpointed(False), rows()) == {**again, "inner.held.0": 3 * PRODUCT}


class LearnsInside(nn.Module):
    """Its forward pass computes a gradient, with a backward pass of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = linear(), linear()

    def forward(self, x: Tensor) -> Any:
        loss = self.inner(x).pow(2).sum()
        (gradient,) = torch.autograd.grad(loss, [self.inner.weight], create_graph=True)
        return self.outer(x) @ gradient.detach()


def test_a_backward_pass_inside_the_forward_pass_belongs_to_the_same_module() -> None:
    macs = macs_by_path(LearnsInside(), rows(needs_gradient=False))
    # The product with the gradient, and the gradient of its left operand.
    assert macs == {"inner": 2 * PRODUCT, "outer": 2 * PRODUCT, "": 2 * PRODUCT}


def test_the_caller_is_still_running_after_a_caught_error() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError

    class Catches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fails, self.linear = Fails(), linear()

        def forward(self, x: Tensor) -> Any:
            try:
                return self.fails(x)
            except ValueError:
                return self.linear(x) @ x.mT

    with torch.no_grad():
        counts = count_operators(lambda: Catches()(rows()))
    macs = {path: tally.macs for (path, _), tally in counts.tallies.items() if tally.macs}
    assert macs == {"linear": PRODUCT, "": ROWS**2 * WIDTH}


def test_no_hooks_are_left_afterwards() -> None:
    module = Latents()
    hooks = nn.modules.module
    count_operators(lambda: module(torch.randn(1, 5, 64)))
    assert not hooks._global_forward_hooks
    assert not hooks._global_forward_pre_hooks
    assert not hooks._global_forward_hooks_always_called
    assert torch.Tensor.__new__ is torch._C.TensorBase.__new__
