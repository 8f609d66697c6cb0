"""fvcore: traces with `torch.jit` and counts the operators that it knows, before decomposition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from attnprof.counting.call import Build
from attnprof.counting.reconciliation import CallEvent, CounterEntry, Reconciliation
from attnprof.counting.third_party._positional import explain_forward, positional

quantity = "fvcore"

_aten = torch.ops.aten

_EXACT_EQUATIONS = ("abc,abd->acd", "abc,adc->adb")
"""Einsum equations for which it has formulas; for all others it calls numpy."""


def count(build: Build) -> int:
    """The `total` of `FlopCountAnalysis`, which counts a multiply-accumulate as one."""
    from fvcore.nn import FlopCountAnalysis

    module, tensors = positional(build())
    with torch.no_grad():
        analysis = FlopCountAnalysis(module, tensors)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        return int(analysis.tracer_warnings("none").total())


def explain(build: Build) -> Reconciliation:
    """What it counts of the call's forward pass."""
    return explain_forward(build, _rule, as_traced=True)


def _rule(event: CallEvent) -> CounterEntry | None:
    """Source: fvcore/nn/jit_handles.py."""
    if event.kind != "operator":
        return None
    # Convolutions are not outermost: the trace has them inside conv1d, conv2d and so on.
    if event.subject is _aten.convolution:
        return _convolution_rule(event)
    if not event.is_outermost:
        return None
    if event.subject is _aten.einsum:
        return _einsum_rule(event)
    if event.subject in (_aten.layer_norm, _aten.group_norm):
        per_element = 4 if event.args[2] is None else 5
        return CounterEntry(extras={"normalisation": per_element * event.args[0].numel()})
    return _matmul_rule(event)


def _matmul_rule(event: CallEvent) -> CounterEntry | None:
    operator, args = event.subject, event.args
    if operator is _aten.linear:
        return CounterEntry(args[0].numel() * args[1].shape[0])
    if operator in (_aten.mm, _aten.bmm, _aten.matmul):
        return CounterEntry(args[0].numel() * args[1].shape[-1])
    if operator is _aten.addmm:
        return CounterEntry(args[1].numel() * args[2].shape[1])
    return None


def _convolution_rule(event: CallEvent) -> CounterEntry:
    inputs, weight, is_transposed = event.args[0], event.args[1], event.args[6]
    positions = (inputs if is_transposed else event.output).shape[2:]
    return CounterEntry(inputs.shape[0] * weight.numel() * math.prod(positions))


def _einsum_rule(event: CallEvent) -> CounterEntry:
    macs = _einsum_macs(*event.args)
    if not event.macs:  # if the summed dimension has size 1, torch multiplies elementwise
        return CounterEntry(extras={"elementwise work": macs})
    return CounterEntry(macs, mismatch="einsum rounded to four digits")


def _einsum_macs(equation: str, operands: Sequence[Tensor], *_: Any) -> int:
    """Half of the FLOPs in numpy's report of the contraction, which has four digits."""
    renamed = _alphabetical(equation)
    inputs, _arrow, output = renamed.partition("->")
    sizes: dict[str, int] = {}
    for letters, operand in zip(inputs.split(","), operands, strict=True):
        sizes |= dict(zip(letters, operand.shape, strict=True))
    macs = math.prod(sizes.values())
    if renamed in _EXACT_EQUATIONS:
        return macs
    sums_over_an_axis = set(sizes) != set(output)
    factor = len(operands) if sums_over_an_axis else len(operands) - 1
    return math.floor(float(f"{macs * factor:.3e}") / 2)


def _alphabetical(equation: str) -> str:
    """The equation with its letters renamed in alphabetical order, as fvcore compares it."""
    letters = dict.fromkeys(letter for letter in equation if letter.isalpha())
    names = {letter: chr(ord("a") + index) for index, letter in enumerate(letters)}
    return "".join(names.get(sign, sign) for sign in equation.replace(" ", ""))
