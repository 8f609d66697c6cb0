"""ptflops, backend `pytorch`: hooks on modules, patches on torch's functions. Its default."""

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
    every_place,
    forward,
    reconcile,
)

quantity = "ptflops_pytorch_macs"

# What ptflops replaces, and the modules it hooks, by what it adds for them.
# Source: ptflops/pytorch_ops.py and pytorch_engine.py.
_PRODUCTS = (
    "torch.matmul",
    "torch.Tensor.matmul",
    "torch.mm",
    "torch.Tensor.mm",
    "torch.bmm",
    "torch.Tensor.bmm",
)

_WITH_ADDITION = ("torch.addmm", "torch.Tensor.addmm", "torch.baddbmm")

_ELEMENTWISE = ("torch.mul", "torch.Tensor.mul", "torch.add", "torch.Tensor.add")

_POOLS = ("avg_pool", "max_pool", "adaptive_avg_pool", "adaptive_max_pool")

_EACH_INPUT = {
    "torch.nn.functional.softmax": "softmax",
    **{
        f"torch.nn.functional.{name}": "activation"
        for name in ("relu", "prelu", "elu", "relu6", "gelu", "silu")
    },
    **{f"torch.nn.functional.{name}{dim}d": "pooling" for name in _POOLS for dim in (1, 2, 3)},
}

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
    """MACs as ptflops says, on real tensors: fake ones run Python code that it would count too."""
    return complexity(build(), "pytorch")


def explain(build: Build) -> Reconciliation:
    """What it sees of the call's forward pass."""
    functions = [*_PRODUCTS, *_WITH_ADDITION, *_ELEMENTWISE, *_EACH_INPUT]
    return on_fake_tensors(
        build,
        lambda call: reconcile(lambda: forward(call), _sees, functions, every_place(call.module)),
    )


def _sees(span: CallEvent) -> CounterEntry | None:
    if span.kind == "module":
        sight = _of_module(span.subject, span.args, span.output)
        # It hooks a module once for every place where it stands.
        return None if sight is None else replace(sight, times=span.places)
    return _of_function(span) if span.kind == "function" else None


def _of_function(span: CallEvent) -> CounterEntry | None:
    operands = [*span.args, *span.kwargs.values()]
    if span.subject in _PRODUCTS:
        return CounterEntry(_product(*operands[:2]))
    if span.subject in _WITH_ADDITION:
        added, left, right = operands[:3]
        bias = added.numel() if span.kwargs.get("beta", 1) else 0
        return CounterEntry(_product(left, right), {"bias": bias})
    if span.subject in _ELEMENTWISE:
        return CounterEntry(extras={"elementwise work": _broadcast_numbers(*operands[:2])})
    if span.subject in _EACH_INPUT:
        return CounterEntry(extras={_EACH_INPUT[span.subject]: operands[0].numel()})
    return None


def _of_module(module: nn.Module, args: tuple[Any, ...], output: Any) -> CounterEntry | None:
    kind: Any = type(module)  # a class made from one of these is not hooked
    if kind is nn.Linear:
        rows, width = args[0].numel() // args[0].shape[-1], output.shape[-1]
        return CounterEntry(rows * args[0].shape[-1] * width, _bias(module, rows * width))
    if kind in _CONVOLUTIONS or kind in _TRANSPOSED:
        inputs = args[0]
        spread = (inputs if kind in _TRANSPOSED else output).shape[2:]
        weight: Any = module.weight
        macs = inputs.shape[0] * weight.numel() * math.prod(spread)
        return CounterEntry(macs, _bias(module, output.numel()))
    if kind in _NORMS:
        times = 2 if getattr(module, "affine", False) else 1
        return CounterEntry(extras={"normalisation": times * args[0].numel()})
    if kind in _ACTIVATIONS:
        return CounterEntry(extras={"activation": output.numel()})
    if kind is nn.MultiheadAttention:
        return _of_attention(module, *args[:3])
    return None


def _of_attention(module: Any, query: Any, key: Any, value: Any) -> CounterEntry:
    """As ptflops has it: one sequence after the other, with a scaling of the queries."""
    axis = 1 if module.batch_first else 0
    batch, queries, keys = query.shape[1 - axis], query.shape[axis], key.shape[axis]
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


def _bias(module: Any, numbers: int) -> dict[str, int]:
    return {} if module.bias is None else {"bias": numbers}


def _product(left: torch.Tensor, right: torch.Tensor) -> int:
    return left.numel() * right.shape[-1]


def _broadcast_numbers(left: Any, right: Any) -> int:
    """Numbers of both, aligned at the first dimension: torch aligns at the last."""
    shapes = [tuple(one.shape) for one in (left, right) if isinstance(one, torch.Tensor)]
    if not shapes:
        return 1
    longest = max(map(len, shapes))
    filled = [shape + (1,) * (longest - len(shape)) for shape in shapes]
    return math.prod(map(max, *filled)) if len(filled) > 1 else math.prod(filled[0])
