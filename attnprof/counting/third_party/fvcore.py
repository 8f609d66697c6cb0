"""fvcore: traces by `torch.jit` and counts the operators that it knows, as they are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from attnprof.counting.call import Build
from attnprof.counting.reconciliation import CallEvent, CounterEntry, Reconciliation
from attnprof.counting.third_party._positional import account_of, positional

quantity = "fvcore"

_aten = torch.ops.aten

_EXACT = ("abc,abd->acd", "abc,adc->adb")


def count(build: Build) -> int:
    """The `total` of `FlopCountAnalysis`, which counts a multiply-accumulate as one."""
    from fvcore.nn import FlopCountAnalysis

    module, tensors = positional(build())
    with torch.no_grad():
        analysis = FlopCountAnalysis(module, tensors)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        return int(analysis.tracer_warnings("none").total())


def explain(build: Build) -> Reconciliation:
    """What it sees of the call's forward pass."""
    return account_of(build, _sees, as_traced=True)


def _sees(span: CallEvent) -> CounterEntry | None:
    """Source: fvcore/nn/jit_handles.py."""
    if span.kind != "operator":
        return None
    operator, args = span.subject, span.args
    if operator is _aten.convolution:  # the trace has it inside those of one dimension or another
        spread = (args[0] if args[6] else span.output).shape[2:]
        return CounterEntry(args[0].shape[0] * args[1].numel() * math.prod(spread))
    if not span.is_outermost:
        return None
    if operator is _aten.linear:
        return CounterEntry(args[0].numel() * args[1].shape[0])
    if operator in (_aten.mm, _aten.bmm, _aten.matmul):
        return CounterEntry(args[0].numel() * args[1].shape[-1])
    if operator is _aten.addmm:
        return CounterEntry(args[1].numel() * args[2].shape[1])
    if operator is _aten.einsum:
        macs = _einsum_macs(*args)
        if not span.macs:  # over a dimension of size 1 it multiplies number by number
            return CounterEntry(extras={"elementwise work": macs})
        return CounterEntry(macs, mismatch="einsum rounded to four digits")
    if operator in (_aten.layer_norm, _aten.group_norm):
        times = 4 if args[2] is None else 5
        return CounterEntry(extras={"normalisation": times * args[0].numel()})
    return None


def _einsum_macs(equation: str, operands: Sequence[Tensor], *_: Any) -> int:
    """Read off numpy's report of the contraction, which prints four digits of the FLOPs."""
    renamed = _renamed(equation)
    inputs, _arrow, output = renamed.partition("->")
    sizes: dict[str, int] = {}
    for letters, operand in zip(inputs.split(","), operands, strict=True):
        sizes |= dict(zip(letters, operand.shape, strict=True))
    macs = math.prod(sizes.values())
    if renamed in _EXACT:
        return macs
    flops = macs * (len(operands) - 1 + (set(sizes) != set(output)))
    return math.floor(float(f"{flops:.3e}") / 2)


def _renamed(equation: str) -> str:
    """The equation with its letters in the order of the alphabet, as fvcore compares it."""
    letters = dict.fromkeys(letter for letter in equation if letter.isalpha())
    names = {letter: chr(ord("a") + index) for index, letter in enumerate(letters)}
    return "".join(names.get(sign, sign) for sign in equation.replace(" ", ""))
