"""Which dimension of a module's inputs comes first, the batch or the length.

Torch's layers declare it with `batch_first`, which is off by default. A module that contains layers
which take the length first may or may not transpose for them: it is run on fake tensors up to the
first of these layers, and the shape of that layer's input decides.
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
"""Torch layers that pass their input unchanged to a `MultiheadAttention` and have no attribute
`batch_first` themselves."""

ASSUMED = (
    "inputs assumed to be batch,len,…: the module does not show which comes first; if the length "
    "does, describe them, such as --input x=len,batch,hidden"
)
"""The note where nothing in the module decides it."""

Run = Callable[[Workload, bool], tuple[nn.Module, Callable[[], object]]]
"""Makes a module and what runs it, from a workload and whether the inputs' batch comes first."""


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
        function: takes the inputs.
        workload: the call; the module is run with another batch size.
        run: makes the callable again as a module, and what runs it.
    """
    if not isinstance(function, nn.Module):
        return Layout()
    declared = _declared_batch_first(function)
    if declared is not None:
        return Layout(declared)
    if all(_declared_batch_first(part) is not False for part in function.modules()):
        return Layout()
    # A batch size unlike the length, so that a shape shows which is which.
    batch_size = next(size for size in (3, 5) if size != workload.seq_len)
    probed = replace(workload, batch_size=batch_size)
    for is_batch_first in (True, False):
        matches = _matches_layer(run, probed, is_batch_first=is_batch_first)
        if matches is not None:
            return Layout(is_batch_first == matches)
    return Layout(is_assumed=True)


def _declared_batch_first(module: nn.Module) -> bool | None:
    """Whether a module declares that its batch comes first; None where it declares nothing."""
    declared = getattr(module, "batch_first", None)
    if isinstance(declared, bool):
        return declared
    if type(module) in _WRAPPERS:
        attentions = (m for m in module.modules() if isinstance(m, nn.MultiheadAttention))
        return next((bool(attention.batch_first) for attention in attentions), None)
    return None


class _LayerReached(Exception):  # noqa: N818 # not an error: it ends a run that has its answer
    """Ends a run at the first layer that declares its layout.

    Attributes:
        matches: whether its input has that layout; None where its shape has neither.
    """

    def __init__(self, matches: bool | None) -> None:
        super().__init__()
        self.matches = matches


def _matches_layer(run: Run, workload: Workload, *, is_batch_first: bool) -> bool | None:
    """Whether the first layer with a declared layout gets an input of it; None if none is reached.

    Args:
        run: makes the module and what runs it.
        workload: the call, on fake tensors.
        is_batch_first: the layout of the module's inputs.
    """
    with nullcontext() if is_fake_mode() else fake_mode(), torch.no_grad():
        try:
            module, call = run(workload, is_batch_first)
            for part in module.modules():
                declared = _declared_batch_first(part)
                if declared is not None:
                    part.register_forward_pre_hook(_hook(workload, declared), with_kwargs=True)
            call()
        except _LayerReached as reached:
            return reached.matches
        except Exception:  # user code, which may fail with this layout
            return None
    return None


def _hook(workload: Workload, is_batch_first: bool) -> Callable[..., None]:
    """A hook that ends the run, with whether the input has the layer's layout."""
    sizes = (workload.batch_size, workload.seq_len)

    def compare_shape(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        shape = tuple(tensors[0].shape[:2]) if tensors else ()
        if is_batch_first:
            raise _LayerReached({sizes: True, sizes[::-1]: False}.get(shape))
        raise _LayerReached({sizes[::-1]: True, sizes: False}.get(shape))

    return compare_shape
