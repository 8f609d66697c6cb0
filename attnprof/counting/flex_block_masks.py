"""FlexAttention's block masks, computed in strips of rows if the mask itself would be too large.

`create_block_mask` evaluates the mask function for all pairs at once. On fake tensors that takes no
memory, but the values of so many pairs are not kept. Here they are computed again in strips of
rows, of which only the blocks are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import flex_attention
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.weak import WeakIdKeyDictionary

from attnprof.counting.constant_propagation import MAX_ELEMENTS, ConstantPropagation, constant_value

_STRIP_ELEMENTS = MAX_ELEMENTS // 4

_MakeStrip = Callable[[int, int], Tensor]
"""Computes a mask from the first row up to the last, excluded: `(batch, heads, rows, keys)`."""


@contextmanager
def known_block_masks(fake: Any, known: ConstantPropagation) -> Generator[None]:
    """Block masks whose mask function depends only on constants are known at every length.

    Args:
        fake: the active `FakeTensorMode`.
        known: where their values are stored.
    """
    make_mask = flex_attention.create_mask
    convert = flex_attention._convert_mask_to_block_mask
    strips: Any = WeakIdKeyDictionary()

    @wraps(make_mask)
    def create_mask(mod_fn: Any, batch: Any, heads: Any, rows: int, keys: int, *device: Any) -> Any:
        mask = make_mask(mod_fn, batch, heads, rows, keys, *device)
        strips[mask] = _strip_maker(mod_fn, batch or 1, heads or 1, keys, mask.device)
        return mask

    @wraps(convert)
    def convert_mask(mask: Tensor, *args: Any, **kwargs: Any) -> Any:
        blocks = convert(mask, *args, **kwargs)
        if mask in strips and constant_value(blocks[0]) is None:
            bound = signature(convert).bind(mask, *args, **kwargs)
            bound.apply_defaults()
            step = _strip_rows(mask, bound.arguments["Q_BLOCK_SIZE"])
            with _disable_current_modes(), fake, known:
                parts = [
                    convert(strips[mask](first, min(first + step, mask.shape[-2])), *args, **kwargs)
                    for first in range(0, mask.shape[-2], step)
                ]
                values = [_joined(part) for part in zip(*parts, strict=True)]
            for block, value in zip(blocks, values, strict=True):
                if block is not None and value is not None:
                    known.learn(block, value)
        return blocks

    flex_attention.create_mask = create_mask
    flex_attention._convert_mask_to_block_mask = convert_mask
    try:
        yield
    finally:
        flex_attention.create_mask = make_mask
        flex_attention._convert_mask_to_block_mask = convert


def _strip_maker(
    mod_fn: Any, batch: int, heads: int, keys: int, device: torch.device
) -> _MakeStrip:
    """A function that does what `create_mask` does, for a range of rows."""
    from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex

    def make_strip(first: int, last: int) -> Tensor:
        b, h = torch.arange(batch, device=device), torch.arange(heads, device=device)
        rows = torch.arange(first, last, device=device)
        with TransformGetItemToIndex():
            mask_function = flex_attention._vmap_for_bhqkv(mod_fn, prefix=())
            return mask_function(b, h, rows, torch.arange(keys, device=device))

    return make_strip


def _strip_rows(mask: Tensor, block_rows: int) -> int:
    """How many rows a strip has: whole blocks of `block_rows`, as many as `_STRIP_ELEMENTS` allow.

    At least one block.
    """
    elements_per_row = max(1, mask.numel() // mask.shape[-2])
    return block_rows * max(1, _STRIP_ELEMENTS // (elements_per_row * block_rows))


def _joined(parts: tuple[Tensor | None, ...]) -> Tensor | None:
    """The values of all strips' blocks, joined; None if those of any strip are not known."""
    values = [None if part is None else constant_value(part) for part in parts]
    known = [value for value in values if value is not None]
    if len(known) < len(parts):
        return None
    with no_dispatch():
        return torch.cat(known, dim=2)
