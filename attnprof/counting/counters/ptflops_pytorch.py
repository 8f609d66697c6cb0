"""ptflops, backend `pytorch`, its default: hooks on modules and patches of torch's functions.

What it patches and hooks: ptflops/pytorch_ops.py and pytorch_engine.py.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from attnprof.counting.call import Build
from attnprof.counting.counters._ptflops import complexity
from attnprof.counting.fake_tensors import on_fake_tensors
from attnprof.counting.reconciliation import (
    CallEvent,
    CounterEntry,
    Reconciliation,
    occurrences,
    reconcile,
    run_forward,
)

quantity = "ptflops_pytorch_macs"

_MATMULS = (
    "torch.matmul",
    "torch.Tensor.matmul",
    "torch.mm",
    "torch.Tensor.mm",
    "torch.bmm",
    "torch.Tensor.bmm",
)

_MATMULS_WITH_BIAS = ("torch.addmm", "torch.Tensor.addmm", "torch.baddbmm")

_ELEMENTWISE = ("torch.mul", "torch.Tensor.mul", "torch.add", "torch.Tensor.add")

_POOLS = ("avg_pool", "max_pool", "adaptive_avg_pool", "adaptive_max_pool")

_PER_INPUT_ELEMENT = {
    "torch.nn.functional.softmax": "softmax",
    **{
        f"torch.nn.functional.{name}": "activation"
        for name in ("relu", "prelu", "elu", "relu6", "gelu", "silu")
    },
    **{f"torch.nn.functional.{name}{dim}d": "pooling" for name in _POOLS for dim in (1, 2, 3)},
}
"""Functions for which it adds one per input element, and what that is called."""

_ACTIVATIONS = (nn.ReLU, nn.PReLU, nn.ELU, nn.LeakyReLU, nn.ReLU6, nn.GELU)

_NORMS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
)

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def count(build: Build) -> int:
    """MACs as ptflops reports them, on real tensors.

    On fake tensors it would also count the Python code that computes their shapes.
    """
    return complexity(build(), "pytorch")


def explain(build: Build) -> Reconciliation:
    """What it counts of the call's forward pass."""
    functions = [*_MATMULS, *_MATMULS_WITH_BIAS, *_ELEMENTWISE, *_PER_INPUT_ELEMENT]
    return on_fake_tensors(
        build,
        lambda call: reconcile(
            lambda: run_forward(call), _rule, functions, occurrences(call.module)
        ),
    )


def _rule(event: CallEvent) -> CounterEntry | None:
    if event.kind == "module":
        entry = _module_rule(event.subject, event.args, event.output)
        # It hooks a module once per occurrence.
        return None if entry is None else replace(entry, times=event.occurrences)
    return _function_rule(event) if event.kind == "function" else None


def _function_rule(event: CallEvent) -> CounterEntry | None:
    operands = [*event.args, *event.kwargs.values()]
    if event.subject in _MATMULS:
        return CounterEntry(_matmul_macs(*operands[:2]))
    if event.subject in _MATMULS_WITH_BIAS:
        added, left, right = operands[:3]
        bias = added.numel() if event.kwargs.get("beta", 1) else 0
        return CounterEntry(_matmul_macs(left, right), {"bias": bias})
    if event.subject in _ELEMENTWISE:
        return CounterEntry(extras={"elementwise work": _broadcast_elements(*operands[:2])})
    if event.subject in _PER_INPUT_ELEMENT:
        return CounterEntry(extras={_PER_INPUT_ELEMENT[event.subject]: operands[0].numel()})
    return None


def _module_rule(module: nn.Module, args: tuple[Any, ...], output: Any) -> CounterEntry | None:
    kind: Any = type(module)  # subclasses are not hooked
    if kind is nn.Linear:
        rows, width = args[0].numel() // args[0].shape[-1], output.shape[-1]
        return CounterEntry(rows * args[0].shape[-1] * width, _bias(module, rows * width))
    if kind in _CONVOLUTIONS or kind in _TRANSPOSED:
        inputs = args[0]
        positions = (inputs if kind in _TRANSPOSED else output).shape[2:]
        weight: Any = module.weight
        macs = inputs.shape[0] * weight.numel() * math.prod(positions)
        return CounterEntry(macs, _bias(module, output.numel()))
    if kind in _NORMS:
        per_element = 2 if getattr(module, "affine", False) else 1
        return CounterEntry(extras={"normalisation": per_element * args[0].numel()})
    if kind in _ACTIVATIONS:
        return CounterEntry(extras={"activation": output.numel()})
    if kind is nn.MultiheadAttention:
        return _attention_rule(module, *args[:3])
    return None


def _attention_rule(module: Any, query: Any, key: Any, value: Any) -> CounterEntry:
    """As ptflops computes it: for each sequence, and including the scaling of the queries."""
    sequence_axis = 1 if module.batch_first else 0
    batch, queries = query.shape[1 - sequence_axis], query.shape[sequence_axis]
    keys = key.shape[sequence_axis]
    width, heads = module.embed_dim, module.num_heads
    products = queries * width**2 + keys * key.shape[2] ** 2 + keys * value.shape[2] ** 2
    products += queries * keys * (width // heads + value.shape[2] // heads) * heads
    products += queries * value.shape[2] ** 2
    bias = queries * value.shape[2]
    if module.in_proj_bias is not None:
        bias += (queries + 2 * keys) * width
    extras = {
        "bias": batch * bias,
        "softmax": batch * heads * queries * keys,
        "elementwise work": batch * queries * width,
    }
    return CounterEntry(batch * products, extras)


def _bias(module: Any, elements: int) -> dict[str, int]:
    return {} if module.bias is None else {"bias": elements}


def _matmul_macs(left: torch.Tensor, right: torch.Tensor) -> int:
    return left.numel() * right.shape[-1]


def _broadcast_elements(left: Any, right: Any) -> int:
    """Elements of the result as ptflops has it: it aligns shapes at the first dimension.

    torch aligns them at the last.
    """
    shapes = [tuple(side.shape) for side in (left, right) if isinstance(side, torch.Tensor)]
    if not shapes:
        return 1
    dims = max(map(len, shapes))
    padded = [shape + (1,) * (dims - len(shape)) for shape in shapes]
    return math.prod(map(max, *padded)) if len(padded) > 1 else math.prod(padded[0])
