"""Makes modules ready for a call: on its device, in its type, called by keyword."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import get_testing_overrides

from attnprof.core.workload import Workload

_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class CalledFunction(nn.Module):
    """A function as a module.

    Args:
        function: what `forward` calls.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns."""
        return self._function(*args, **kwargs)


class CalledByPosition(nn.Module):
    """Takes all arguments by keyword for a module that takes some by position only.

    Args:
        module: the module.
        names: names of those arguments, in order.
    """

    def __init__(self, module: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.module = module
        self._names = names

    def forward(self, **kwargs: Any) -> Any:
        """What the module returns."""
        return self.module(*[kwargs.pop(name) for name in self._names], **kwargs)


def as_module(function: Callable[..., Any], kwargs: Mapping[str, Any]) -> nn.Module:
    """A module that takes `kwargs` by keyword, whatever `function` is."""
    try:
        parameters = signature_of(function)
    except ValueError:  # a builtin that torch does not know: its argument names are not checked
        parameters = {}
    takes_any_name = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    takes_rest = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters.values())
    by_position = [
        name
        for name in kwargs
        if (name in parameters and parameters[name].kind is inspect.Parameter.POSITIONAL_ONLY)
        or (name not in parameters and takes_rest and not takes_any_name)
    ]
    module = function if isinstance(function, nn.Module) else CalledFunction(function)
    if not by_position:
        return module
    return CalledByPosition(module, by_position)


def signature_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Parameters of a function, or of a module's `forward`, in order.

    Those of torch's builtins, such as `torch.matmul`, come from torch's list of overridable
    functions (torch/overrides.py, `get_testing_overrides`).

    Raises:
        ValueError: for any other builtin.
        TypeError: when it is not callable.
    """
    called = function.forward if isinstance(function, nn.Module) else function
    try:
        return dict(inspect.signature(called).parameters)
    except ValueError:
        stand_in = get_testing_overrides().get(called)
        if stand_in is None:
            raise
        return dict(inspect.signature(stand_in).parameters)


def required(parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    """Names of the parameters without a default."""
    return [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind in (*_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    ]


def to_device_and_dtype(module: nn.Module, workload: Workload, *, is_fresh: bool) -> nn.Module:
    """The module on the workload's device, in its type and mode.

    Args:
        module: the module.
        workload: the call.
        is_fresh: whether it was made for this call. Otherwise it is copied, because counters leave
            hooks on what they count; inside a fake mode the copy is fake.
    """
    dtype = getattr(torch, workload.dtype)

    def is_ready(tensor: torch.Tensor) -> bool:
        has_type = not tensor.is_floating_point() or tensor.dtype == dtype
        return has_type and tensor.device.type == workload.device

    tensors = [*module.parameters(), *module.buffers()]
    if not (is_fresh and all(is_ready(tensor) for tensor in tensors)):
        copies = {id(tensor): _copied(tensor, dtype, workload.device) for tensor in tensors}
        module = copy.deepcopy(module, copies)
    return module.train(workload.mode == "training")


def _copied(tensor: torch.Tensor, dtype: torch.dtype, device: str) -> torch.Tensor:
    """A copy on the device; floating point numbers are converted to `dtype`."""
    target_dtype = dtype if tensor.is_floating_point() else tensor.dtype
    data = tensor.detach().to(device=device, dtype=target_dtype, copy=True)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(data, requires_grad=tensor.requires_grad)
    return data
