"""Memory inside single operators, which no tensor holds, from the shapes they are called with.

A formula takes the operator's arguments by the names of its schema and `result`, and returns the
most bytes that it allocates at one time beside its outputs, or bounds of them. Torch's own
operators without one allocate nothing of note: a scan of some 300 calls against the allocator says
so. Of operators that are neither torch's nor attnprof's nothing is known.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attnprof.counting import banded_formulas
from attnprof.counting.buffers import attention, pointwise, products
from attnprof.counting.buffers.bounds import NO_BYTES, UNKNOWN_BYTES, Formula, InnerBytes
from attnprof.counting.mac_formulas import arguments_of, formula_of
from attnprof.counting.zero_mac_operators import is_zero_mac

_BUFFERS: dict[Any, Formula] = {
    **attention.BUFFERS,
    **products.BUFFERS,
    **pointwise.BUFFERS,
    **banded_formulas.BUFFERS,
}

_PLAIN_NAMESPACES = ("prim", "prims", "profiler", "attnprof")


def inside(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> InnerBytes:
    """Bytes inside one call of an operator, as torch dispatches it."""
    packet = getattr(func, "overloadpacket", func)
    formula = _BUFFERS.get(packet)
    if formula is None:
        return NO_BYTES if _is_plain(func, packet, args, result) else UNKNOWN_BYTES
    found = formula(**arguments_of(func, args, kwargs), result=result)
    return found if isinstance(found, InnerBytes) else InnerBytes(found, found)


def _is_plain(func: Any, packet: Any, args: tuple[Any, ...], result: Any) -> bool:
    """Whether a call without a formula takes nothing inside."""
    if not isinstance(func, torch._ops.OpOverload):
        return False
    if func.namespace in _PLAIN_NAMESPACES:
        return True
    if func.namespace != "aten":
        return False
    touched = [one for one in (*args, result) if isinstance(one, Tensor)]
    return formula_of(packet) is not None or is_zero_mac(func, touched)
