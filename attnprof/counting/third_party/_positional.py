"""What peers take: a module and tensors by position."""

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
    every_place,
    forward,
    reconcile,
)


class Positional(nn.Module):
    """A module that takes the tensors among its arguments by position, and has the others.

    Args:
        module: the module.
        kwargs: of its `forward`.
    """

    def __init__(self, module: nn.Module, kwargs: Mapping[str, Any]) -> None:
        super().__init__()
        self.module = module
        self._rest = {k: v for k, v in kwargs.items() if not isinstance(v, torch.Tensor)}
        self._names = [name for name in kwargs if name not in self._rest]

    def forward(self, *tensors: torch.Tensor) -> Any:
        """Calls it."""
        return self.module(**dict(zip(self._names, tensors, strict=True)), **self._rest)


def positional(call: Call) -> tuple[Positional, tuple[torch.Tensor, ...]]:
    """The call's module in eval mode, and its tensors in their order."""
    module = Positional(call.module, call.kwargs)
    module.eval()
    return module, tuple(v for v in call.kwargs.values() if isinstance(v, torch.Tensor))


def account_of(
    build: Build, sees: CounterRule, functions: tuple[str, ...] = (), *, as_traced: bool = False
) -> Reconciliation:
    """What a peer sees of the call's forward pass; `as_traced`, operators made of others whole."""
    mode = torch.inference_mode if as_traced else torch.no_grad
    return on_fake_tensors(
        build,
        lambda call: reconcile(
            lambda: forward(call, mode), sees, functions, every_place(call.module)
        ),
    )
