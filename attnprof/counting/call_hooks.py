"""Hooks on modules and patches of functions that hold for the length of a `with` block."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def idle_hooks(modules: Iterable[nn.Module]) -> Generator[None]:
    """Each of the modules has a forward hook that does nothing."""

    def do_nothing(module: nn.Module, args: Any, output: Any) -> None:
        return

    handles = [module.register_forward_hook(do_nothing) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def module_hooks(
    before: Callable[[nn.Module, Any], None], after: Callable[[nn.Module, Any, Any], None]
) -> Generator[None]:
    """Every module calls these hooks: `before(module, args)` and `after(module, args, output)`."""
    handles = (
        nn.modules.module.register_module_forward_pre_hook(before),
        nn.modules.module.register_module_forward_hook(after),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def patched_function(path: str, wrap: Callable[[str, Any], Any]) -> Generator[None]:
    """The function at a path such as `torch.Tensor.matmul` is replaced by `wrap(path, function)`.

    While the original runs it is back in its place: tensor subclasses look up their override of a
    function by the function itself.
    """
    owner_path, _, name = path.rpartition(".")
    owner: Any = (
        torch.Tensor if owner_path == "torch.Tensor" else importlib.import_module(owner_path)
    )
    if not hasattr(owner, name):
        yield
        return
    defined, original = vars(owner).get(name), getattr(owner, name)

    def call_original(*args: Any, **kwargs: Any) -> Any:
        setattr(owner, name, original)
        try:
            return original(*args, **kwargs)
        finally:
            setattr(owner, name, wrapper)

    wrapper = wrap(path, call_original)
    setattr(owner, name, wrapper)
    try:
        yield
    finally:
        if defined is None:
            delattr(owner, name)
        else:
            setattr(owner, name, defined)
