"""What third-party counters take: a module, and tensors as positional arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from attnprof.counting.call import Build, Call
from attnprof.counting.fake_tensors import on_fake_tensors
from attnprof.counting.reconciliation import (
    CounterRule,
    Reconciliation,
    occurrences,
    reconcile,
    run_forward,
)


class Positional(nn.Module):
    """A module that takes tensors by position; all other arguments are fixed.

    Args:
        module: the module.
        kwargs: keyword arguments of its `forward`.
    """

    def __init__(self, module: nn.Module, kwargs: Mapping[str, Any]) -> None:
        super().__init__()
        self.module = module
        self._fixed = {k: v for k, v in kwargs.items() if not isinstance(v, torch.Tensor)}
        self._names = [name for name in kwargs if name not in self._fixed]

    def forward(self, *tensors: torch.Tensor) -> Any:
        """What the module returns for these tensors, in the order of `kwargs`."""
        return self.module(**dict(zip(self._names, tensors, strict=True)), **self._fixed)


def positional(call: Call) -> tuple[Positional, tuple[torch.Tensor, ...]]:
    """The call's module in eval mode, and its tensors in order."""
    module = Positional(call.module, call.kwargs)
    module.eval()
    return module, tuple(v for v in call.kwargs.values() if isinstance(v, torch.Tensor))


def explain_forward(
    build: Build, rule: CounterRule, functions: tuple[str, ...] = (), *, as_traced: bool = False
) -> Reconciliation:
    """What a tool counts of the call's forward pass.

    Args:
        build: makes the call.
        rule: what the tool adds for each call inside.
        functions: paths of the functions that the tool patches.
        as_traced: whether composite operators such as einsum stay single operators.
    """
    mode = torch.inference_mode if as_traced else torch.no_grad
    return on_fake_tensors(
        build,
        lambda call: reconcile(
            lambda: run_forward(call, mode), rule, functions, occurrences(call.module)
        ),
    )
