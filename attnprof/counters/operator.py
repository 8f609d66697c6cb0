"""MACs at operator level, complete for the kernels here: the truth that formulas are held to.

torch's `FlopCounterMode` with formulas for the operators that it lacks: fused attention on CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from attnprof.call import Build, Call
from attnprof.counters._fake import on_fake_tensors

quantity = "operator_macs"

Shape = Sequence[int]


def _fused_attention_flops(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Two products, scores and context, over all pairs: masked ones are multiplied too."""
    return sdpa_flop_count(query, key, value)


def _fused_attention_backward_flops(
    grad_output: Shape, query: Shape, key: Shape, value: Shape, *_: Any, **__: Any
) -> int:
    """Five products: the scores once more, and the gradients of weights, value, query and key."""
    return sdpa_backward_flop_count(grad_output, query, key, value)


_aten = torch.ops.aten
_FORMULAS: dict[Any, Callable[..., int]] = {
    _aten._scaled_dot_product_flash_attention_for_cpu: _fused_attention_flops,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _fused_attention_backward_flops,
}


def count(build: Build) -> int:
    """MACs of every matrix product that the call runs, forward and backward."""
    return on_fake_tensors(build, _count)


def _count(call: Call) -> int:
    with FlopCounterMode(display=False, custom_mapping=_FORMULAS) as counter:
        call.run()
    return counter.get_total_flops() // 2
