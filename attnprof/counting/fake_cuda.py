"""Fake CUDA tensors on machines without CUDA: they behave as on a GPU, backward pass included.

Two things stand in the way. Torch's C++ code asks for the device of a tensor wherever it builds or
runs a backward pass, and fails on CUDA without a GPU; it is told a device that needs none, and what
it allocates there comes to CUDA. And torch chooses the kernel of fused attention by the GPU, which
`attnprof.core.cuda_attention` does instead: also where there is a GPU, so that what is counted does
not depend on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from attnprof.counting.cuda_attention import attention_on_cuda

_CUDA = torch.device("cuda", 0)
_TOLD = torch.device("meta", 1)
"""The device that C++ code is told instead of CUDA; nothing else uses it."""


def fake_tensor_mode() -> FakeTensorMode:
    """A mode of fake tensors, those of CUDA included, whether or not this machine has it."""
    mode: Any = FakeTensorMode(allow_non_fake_inputs=True)
    if torch.cuda.is_available():
        return mode
    dispatch = mode.dispatch

    def dispatch_without_cuda(
        func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = MappingProxyType({})
    ) -> object:
        kwargs = {name: _CUDA if _is_told(value) else value for name, value in kwargs.items()}
        result = dispatch(func, types, args, kwargs)
        is_device = func is torch.ops.prim.device.default
        return _TOLD if is_device and result.type == "cuda" else result

    # No subclass: higher-order operators find their rule by the type of the mode.
    mode.dispatch = dispatch_without_cuda
    return mode


@contextmanager
def cuda_functions(*things: object) -> Generator[None]:
    """`CudaFunctions` while a call on fake CUDA tensors runs; nothing for other calls.

    Only then, as torch's modules take no fast path while such a mode is active.

    Args:
        things: modules, tensors, and containers of them.
    """
    if torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is None:
        yield  # at once: calls on real tensors are timed
        return
    modules = [leaf for leaf in tree_leaves(things) if isinstance(leaf, nn.Module)]
    inside = [tensor for module in modules for tensor in module.parameters()]
    tensors = [leaf for leaf in (*tree_leaves(things), *inside) if isinstance(leaf, FakeTensor)]
    is_on_cuda = any(tensor.device.type == "cuda" for tensor in tensors)
    with CudaFunctions() if is_on_cuda else nullcontext():
        yield


class CudaFunctions(TorchFunctionMode):
    """Functions that torch's Python code calls on fake CUDA tensors, as they are on a GPU."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        replacement = _REPLACED.get(func)
        if replacement is None or not args:
            return func(*args, **kwargs)
        return replacement(func, *args, **kwargs)


def _attention(func: Callable[..., Any], query: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if query.device.type != "cuda":
        return func(query, *args, **kwargs)
    return attention_on_cuda(query, *args, **kwargs)


def _is_cuda(func: Callable[..., Any], tensor: Tensor) -> bool:
    return tensor.device.type == "cuda"


def _moved(
    func: Callable[..., Any], tensor: Tensor, *args: Any, copy: bool = False, **kwargs: Any
) -> Tensor:
    """`Tensor.to`: a tensor that is on CUDA already is not copied to it once more."""
    core: Any = torch._C
    device, dtype, non_blocking, memory_format = core._nn._parse_to(*args, **kwargs)
    if device is not None and (_is_told(device) or device.type == "cuda"):
        device = None if tensor.device.type == "cuda" else _CUDA
    if device is None and dtype is None and memory_format is None and not copy:
        return tensor
    changed = {"device": device, "dtype": dtype, "memory_format": memory_format}
    given = {name: value for name, value in changed.items() if value is not None}
    return func(tensor, non_blocking=non_blocking, copy=copy, **given)


def _moved_to_cuda(func: Callable[..., Any], tensor: Tensor, *_: Any, **__: Any) -> Tensor:
    return _moved(Tensor.to, tensor, _CUDA)


def _is_told(value: object) -> bool:
    return isinstance(value, torch.device) and value == _TOLD


_tensor: Any = Tensor
_REPLACED: dict[Any, Callable[..., Any]] = {
    scaled_dot_product_attention: _attention,
    _tensor.is_cuda.__get__: _is_cuda,
    Tensor.to: _moved,
    Tensor.cuda: _moved_to_cuda,
}
