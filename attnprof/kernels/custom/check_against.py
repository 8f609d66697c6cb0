"""Whether what is the user's own computes what a reference of theirs computes, as `pkg.mod:name`.

The reference is called with the same inputs, by the same names. It may be

- a function of the inputs; if it has an argument `module`, that is the module being checked, for
  its weights;
- a module, a class of modules, or a function that makes one, as `--kernel` takes them; it is given
  the weights of the module being checked, by their names.

Vectors along the last dimension are compared, of the first tensor that both return and, in
training, of the gradients of floating point inputs. Their tolerance is

    16 (1 + (20 + sqrt(m)) a / u) u (|v| + |v| of the root mean square vector)

with u, a and m as in `attnprof.nn.checking.tolerance`, and 16 for how often in a row a network
rounds what it hands on: about 1e-4 of a vector's norm in float32, 1e-13 in float64, 0.8 % in
float16 and 6 % in bfloat16. Gradients have twice that. Dropout cannot be compared.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from attnprof.core.errors import MeasurementError, UsageError, describe_error
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.custom.modules import CalledByPosition, as_module, required, signature_of
from attnprof.kernels.custom.python_object import PythonTarget, load_object
from attnprof.kernels.custom.reference import parse_reference
from attnprof.nn.checking.tolerance import difference
from attnprof.nn.checking.uninitialized_memory import holding_nan, tries

_OPTION = "check_against"
_MODULE = "module"
_IN_A_ROW = 16.0
_EXPONENTIAL = 20.0
_BACKWARD = 2.0
_SEED = 20200410


def reference_digest(name: str) -> str:
    """Of the file that a reference is from; empty where there is none.

    Raises:
        UsageError: when there is no such thing, or it cannot be called.
    """
    expected = "name a function or a module of torch's and where it is, as pkg.mod:name"
    try:
        reference = parse_reference(name) if ":" in name else None
        if reference is None or reference.kind != "python" or reference.inputs:
            raise UsageError(_OPTION, name, expected)
        thing = load_object(reference)
    except UsageError as error:
        raise UsageError(_OPTION, name, error.expected) from error
    if not callable(thing):
        raise UsageError(_OPTION, name, f"is {type(thing).__name__}; {expected}")
    file = getattr(sys.modules[reference.place], "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def wrong_against(name: str, call: Call, workload: Workload) -> str:
    """How a call differs from the same call of a reference, in words; empty where it does not.

    Raises:
        MeasurementError: when the reference cannot be called so.
    """
    device = torch.device(workload.device)
    found: list[dict[str, Tensor]] = []
    for unwritten in tries(workload.seq_len):
        with holding_nan(device, unwritten):
            found.append(_results(call.module, call, call.kwargs))
    try:
        reference, kwargs = _reference(name, call, workload)
        expected = _results(reference, call, kwargs)
    except Exception as error:
        raise MeasurementError(f"reference {name}: {describe_error(error)}") from error
    told = (
        _wrong(what, got[what], right, workload)
        for got in found
        for what, right in expected.items()
    )
    return next((wrong for wrong in told if wrong), "")


def _reference(name: str, call: Call, workload: Workload) -> tuple[nn.Module, dict[str, Any]]:
    """The reference as a module, and what it is called with."""
    reference = parse_reference(name)
    thing = load_object(reference)
    if not _takes_inputs(thing, call.kwargs):
        thing = PythonTarget(reference).made(workload)
    kwargs = dict(call.kwargs)
    checked = call.module.module if isinstance(call.module, CalledByPosition) else call.module
    if isinstance(thing, nn.Module):
        _share_weights(checked, thing)
    elif _MODULE in signature_of(thing) and _MODULE not in kwargs:
        kwargs[_MODULE] = checked
    return as_module(thing, kwargs), kwargs


def _takes_inputs(thing: Any, inputs: Mapping[str, Any]) -> bool:
    """Whether it is a function of the inputs, and no class or factory of modules."""
    if isinstance(thing, type | nn.Module):
        return False
    try:
        needed = required(signature_of(thing))
    except ValueError:  # of a builtin
        return True
    return bool(needed) and {*inputs, _MODULE}.issuperset(needed)


def _share_weights(checked: nn.Module, reference: nn.Module) -> None:
    own, theirs = reference.state_dict(), checked.state_dict()
    if own.keys() != theirs.keys():
        odd = sorted(own.keys() ^ theirs.keys())
        raise MeasurementError(
            f"its weights are not those of what is checked: {', '.join(odd[:3])}"
        )
    reference.load_state_dict(theirs)


def _results(module: nn.Module, call: Call, kwargs: Mapping[str, Any]) -> dict[str, Tensor]:
    """The output and, in training, the gradients of floating point inputs, by their names."""
    is_training = call.mode == "training"
    leaves: dict[int, Tensor] = {}

    def anew(tensor: Tensor) -> Tensor:
        copy = tensor.detach().clone()
        if is_training and copy.is_floating_point():
            leaves[len(leaves)] = copy.requires_grad_()
        return copy

    own = tree_map_only(Tensor, anew, {name: kwargs[name] for name in call.kwargs})
    with torch.set_grad_enabled(is_training):
        output = Call(module, {**kwargs, **own}, call.mode).forward()
        results = {"output": output.detach()}
        if is_training and output.requires_grad:
            generator = torch.Generator().manual_seed(_SEED)
            drawn = torch.randn(output.shape, generator=generator).to(output)
            found = cast(
                "Sequence[Tensor | None]",
                torch.autograd.grad(output, list(leaves.values()), drawn, allow_unused=True),
            )
            for number, gradient in enumerate(found):
                right = torch.zeros_like(leaves[number]) if gradient is None else gradient
                results[f"gradient of input {number}"] = right
    return results


def _wrong(what: str, got: Tensor, expected: Tensor, workload: Workload) -> str:
    if got.shape != expected.shape:
        return f"{what} is {tuple(got.shape)} where the reference's is {tuple(expected.shape)}"
    if expected.dim() == 0:
        got, expected = got[None], expected[None]
    if not bool(expected.isfinite().all()):
        raise MeasurementError(f"its {what} is not finite")
    expected = expected.double()
    tolerance = _tolerance(expected, getattr(torch, workload.dtype), workload)
    found = difference(got, expected, tolerance * (1.0 if what == "output" else _BACKWARD))
    if found is None:
        return ""
    place = f"index ({', '.join(map(str, found.index))})"
    return f"{what} is {found.described(place, getattr(torch, workload.dtype))}"


def _tolerance(expected: Tensor, dtype: torch.dtype, workload: Workload) -> Tensor:
    unit = torch.finfo(dtype).eps / 2
    accumulated = torch.finfo(torch.promote_types(dtype, torch.float32)).eps / 2
    summands = max(workload.seq_len, 4 * workload.hidden_size)
    norms = expected.norm(dim=-1)
    typical = norms.square().mean().sqrt()
    lost = unit + (_EXPONENTIAL + math.sqrt(summands)) * accumulated
    return _IN_A_ROW * lost * (norms + typical)
