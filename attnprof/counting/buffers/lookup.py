"""Memory that an operator allocates inside, from the shapes of its arguments.

A formula takes the operator's arguments under the names of its schema and `result`, and returns the
most bytes that it allocates at one time beside its outputs, or bounds for them. Higher-order
operators have no schema: their arguments are passed by position. Operators of torch without a
formula allocate next to nothing inside: about 300 calls were compared with the allocator. Of
operators that are neither torch's nor attnprof's nothing is known.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attnprof.counting import banded_formulas
from attnprof.counting.buffers import attention, cuda_attention, pointwise, products
from attnprof.counting.buffers.bounds import NO_BYTES, UNKNOWN_BYTES, Formula, InnerBytes
from attnprof.counting.mac_formulas import arguments_of, formula_of
from attnprof.counting.zero_mac_operators import is_zero_mac

_BUFFERS: dict[Any, Formula] = {
    **attention.BUFFERS,
    **cuda_attention.BUFFERS,
    **products.BUFFERS,
    **pointwise.BUFFERS,
    **banded_formulas.BUFFERS,
}

_NAMESPACES_WITHOUT_BUFFERS = ("prim", "prims", "profiler", "attnprof")


def inner_bytes(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> InnerBytes:
    """Bytes that one call of an operator, as torch dispatches it, allocates inside."""
    packet = getattr(func, "overloadpacket", func)
    formula = _BUFFERS.get(packet)
    if formula is None:
        return NO_BYTES if _has_no_buffers(func, packet, args, result) else UNKNOWN_BYTES
    if isinstance(func, torch._ops.OpOverload):
        size = formula(**arguments_of(func, args, kwargs), result=result)
    else:
        size = formula(*args, **kwargs, result=result)
    return size if isinstance(size, InnerBytes) else InnerBytes(size, size)


def _has_no_buffers(func: Any, packet: Any, args: tuple[Any, ...], result: Any) -> bool:
    """Whether a call without a formula is known to allocate nothing inside."""
    if not isinstance(func, torch._ops.OpOverload):
        return False
    if func.namespace in _NAMESPACES_WITHOUT_BUFFERS:
        return True
    if func.namespace != "aten":
        return False
    tensors = [value for value in (*args, result) if isinstance(value, Tensor)]
    return formula_of(packet) is not None or is_zero_mac(func, tensors)
