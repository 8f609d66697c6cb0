"""Tensor subclasses under dispatch modes: wrapper subclasses, and construction of subclasses."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._mode_utils import no_dispatch

_DISPATCH = "__torch_dispatch__"
_NO_DISPATCH = getattr(Tensor, _DISPATCH)
_NEW = "__new__"


def is_made_of_plain_tensors(types: Iterable[type]) -> bool:
    """Whether arguments of these types compute an operator by other operators on plain tensors.

    Jagged nested tensors and quantised tensors do. A mode then returns `NotImplemented` and gets
    the operators on plain tensors instead, whose shapes are those that are computed with.
    """
    return any(
        not issubclass(kind, FakeTensor) and getattr(kind, _DISPATCH) is not _NO_DISPATCH
        for kind in types
    )


@contextmanager
def subclass_constructors() -> Generator[None]:
    """Subclasses that use torch's constructor, such as `CausalBias`, can be created under a mode.

    torch's constructor refuses to change the class of a tensor that a mode returned. So a plain
    tensor is created first and gets its class afterwards. The class of a fake tensor cannot change:
    it becomes an attribute of a tensor of the subclass on the meta device.
    """
    construct = Tensor.__new__
    defined = vars(Tensor).get(_NEW)

    def construct_plain(cls: type[Tensor], *args: Any, **kwargs: Any) -> Any:
        if cls is Tensor:
            return construct(cls, *args, **kwargs)
        plain = construct(Tensor, *args, **kwargs)
        if not isinstance(plain, FakeTensor):
            return plain.as_subclass(cls)
        with no_dispatch():
            placeholder: Any = torch.empty(plain.shape, dtype=plain.dtype, device="meta")
            placeholder = placeholder.as_subclass(cls)
        placeholder.held_storage = plain  # keeps its storage alive
        return placeholder

    setattr(Tensor, _NEW, construct_plain)
    try:
        yield
    finally:
        if defined is None:
            delattr(Tensor, _NEW)
        else:
            setattr(Tensor, _NEW, defined)
