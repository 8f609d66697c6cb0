"""Which dimension of a module's inputs comes first, the batch or the length.

Torch's own layers say it by `batch_first`, which is off by default. A module that holds layers
which take the length first may transpose for them or not: it is run without numbers up to the first
of them, whose input shows.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from attnprof.core.workload import Workload
from attnprof.counting.fake_tensors import fake_mode, is_fake_mode

_WRAPPERS = (
    nn.TransformerEncoderLayer,
    nn.TransformerEncoder,
    nn.TransformerDecoderLayer,
    nn.TransformerDecoder,
)
"""Layers of torch that hand their input to a `MultiheadAttention` as it is, without an attribute
`batch_first` of their own."""

ASSUMED = (
    "its inputs are taken as batch,len,…: whether the length comes first cannot be told; if it "
    "does, describe them, as with --input x=len,batch,hidden"
)
"""What is said where nothing decided it."""

Run = Callable[[Workload, bool], tuple[nn.Module, Callable[[], object]]]
"""Makes a module and what runs it, for a workload and inputs whose batch comes first, or not."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The order of the first two dimensions of a module's inputs.

    Attributes:
        is_batch_first: `(batch, len, …)`; else `(len, batch, …)`.
        is_assumed: whether nothing in the module decided it.
    """

    is_batch_first: bool = True
    is_assumed: bool = False


def find_layout(function: object, workload: Workload, run: Run) -> Layout:
    """The layout of the inputs of a callable.

    Args:
        function: whose inputs they are.
        workload: the call, of which another batch size is tried.
        run: makes the callable anew as a module, and runs it.
    """
    if not isinstance(function, nn.Module):
        return Layout()
    told = _told(function)
    if told is not None:
        return Layout(told)
    if all(_told(part) is not False for part in function.modules()):
        return Layout()
    # A batch size of its own cannot be mistaken for the length.
    batch_size = next(size for size in (3, 5) if size != workload.seq_len)
    tried = replace(workload, batch_size=batch_size)
    for is_batch_first in (True, False):
        fits = _fits(run, tried, is_batch_first=is_batch_first)
        if fits is not None:
            return Layout(is_batch_first == fits)
    return Layout(is_assumed=True)


def _told(module: nn.Module) -> bool | None:
    """Whether a module says that its batch comes first; None where it says nothing."""
    own = getattr(module, "batch_first", None)
    if isinstance(own, bool):
        return own
    if type(module) in _WRAPPERS:
        attentions = (m for m in module.modules() if isinstance(m, nn.MultiheadAttention))
        return next((bool(attention.batch_first) for attention in attentions), None)
    return None


class _Reached(Exception):  # noqa: N818 # it is no error: the layer that tells has been reached
    """Ends a run at the first layer that says which dimension it takes for the sequence."""

    def __init__(self, fits: bool | None) -> None:
        super().__init__()
        self.fits = fits


def _fits(run: Run, workload: Workload, *, is_batch_first: bool) -> bool | None:
    """Whether the first layer that says its layout gets its input so; None where none gets one."""
    with nullcontext() if is_fake_mode() else fake_mode(), torch.no_grad():
        try:
            module, call = run(workload, is_batch_first)
            for part in module.modules():
                told = _told(part)
                if told is not None:
                    part.register_forward_pre_hook(_hook(workload, told), with_kwargs=True)
            call()
        except _Reached as reached:
            return reached.fits
        except Exception:  # it is the user's code, and need not take this layout
            return None
    return None


def _hook(workload: Workload, is_batch_first: bool) -> Callable[..., None]:
    sizes = (workload.batch_size, workload.seq_len)

    def look(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        shape = tuple(tensors[0].shape[:2]) if tensors else ()
        if is_batch_first:
            raise _Reached({sizes: True, sizes[::-1]: False}.get(shape))
        raise _Reached({sizes[::-1]: True, sizes: False}.get(shape))

    return look
