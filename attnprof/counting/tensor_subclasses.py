"""Tensor subclasses under dispatch modes: those made of plain tensors, and those made by call."""

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
    """Whether an operator's arguments run operators of their own on plain tensors.

    Jagged nested tensors and quantised ones do. A mode then returns `NotImplemented`, and is told
    of the plain operators instead: their shapes are those of what is computed.
    """
    return any(
        not issubclass(kind, FakeTensor) and getattr(kind, _DISPATCH) is not _NO_DISPATCH
        for kind in types
    )


@contextmanager
def constructors() -> Generator[None]:
    """Subclasses that are made by call, such as `CausalBias`, can be made under a mode.

    Their constructor is torch's, which refuses to give the tensor that a mode returned a class. The
    tensor is made plain, and gets its class afterwards; a fake one, whose class is fixed, is held
    by one on the meta device.
    """
    construct = Tensor.__new__
    own = vars(Tensor).get(_NEW)

    def plain_first(cls: type[Tensor], *args: Any, **kwargs: Any) -> Any:
        if cls is Tensor:
            return construct(cls, *args, **kwargs)
        made = construct(Tensor, *args, **kwargs)
        if not isinstance(made, FakeTensor):
            return made.as_subclass(cls)
        with no_dispatch():
            stand_in: Any = torch.empty(made.shape, dtype=made.dtype, device="meta")
            stand_in = stand_in.as_subclass(cls)
        stand_in.held_storage = made
        return stand_in

    setattr(Tensor, _NEW, plain_first)
    try:
        yield
    finally:
        if own is None:
            delattr(Tensor, _NEW)
        else:
            setattr(Tensor, _NEW, own)
