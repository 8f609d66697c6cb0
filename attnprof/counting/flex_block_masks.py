"""FlexAttention's block masks of long sequences: known block by block where no mask fits.

`create_block_mask` asks a mask function for all pairs at once. On fake tensors that takes no
memory, but the numbers of so many pairs are not kept. Here they are computed again in strips of
rows, and only what a block mask says of them is remembered.
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

from attnprof.counting.constant_propagation import MAX_NUMBERS, ConstantPropagation, constant_value

_STRIP_NUMBERS = MAX_NUMBERS // 4

_MakeStrip = Callable[[int, int], Tensor]
"""Makes the rows of a mask from one to another, `(batch, heads, rows, keys)`."""


@contextmanager
def block_masks_known(fake: Any, known: ConstantPropagation) -> Generator[None]:
    """Block masks whose mask function follows from constants are known at every length.

    Args:
        fake: the `FakeTensorMode` that is active.
        known: where their numbers go.
    """
    make_mask = flex_attention.create_mask
    convert = flex_attention._convert_mask_to_block_mask
    strips: Any = WeakIdKeyDictionary()

    @wraps(make_mask)
    def remembered(mod_fn: Any, batch: Any, heads: Any, rows: int, keys: int, *device: Any) -> Any:
        mask = make_mask(mod_fn, batch, heads, rows, keys, *device)
        strips[mask] = _maker(mod_fn, batch or 1, heads or 1, keys, mask.device)
        return mask

    @wraps(convert)
    def converted(mask: Tensor, *args: Any, **kwargs: Any) -> Any:
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

    flex_attention.create_mask = remembered
    flex_attention._convert_mask_to_block_mask = converted
    try:
        yield
    finally:
        flex_attention.create_mask = make_mask
        flex_attention._convert_mask_to_block_mask = convert


def _maker(mod_fn: Any, batch: int, heads: int, keys: int, device: torch.device) -> _MakeStrip:
    """As `create_mask` does, of some rows."""
    from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex

    def strip(first: int, last: int) -> Tensor:
        b, h = torch.arange(batch, device=device), torch.arange(heads, device=device)
        rows = torch.arange(first, last, device=device)
        with TransformGetItemToIndex():
            of_all = flex_attention._vmap_for_bhqkv(mod_fn, prefix=())
            return of_all(b, h, rows, torch.arange(keys, device=device))

    return strip


def _strip_rows(mask: Tensor, block_rows: int) -> int:
    """Whole blocks of rows, as many as keep a strip small."""
    row = max(1, mask.numel() // mask.shape[-2])
    return block_rows * max(1, _STRIP_NUMBERS // (row * block_rows))


def _joined(parts: tuple[Tensor | None, ...]) -> Tensor | None:
    values = [None if part is None else constant_value(part) for part in parts]
    known = [value for value in values if value is not None]
    if len(known) < len(parts):
        return None
    with no_dispatch():
        return torch.cat(known, dim=2)
