"""Whether a custom kernel computes the same as a reference of the user, `pkg.mod:name`.

The reference is called with the same inputs, by the same names. It is

- a function of the inputs; an argument `module` of it receives the module being checked, for its
  weights; or
- a module, a module class, or a function that makes one, as for `--kernel`; the weights of the
  module being checked are loaded into it, by their names.

Vectors along the last dimension are compared: of the first tensor that both return and, in
training, of the gradients of floating point inputs. Their tolerance is

    16 (1 + (20 + sqrt(m)) a / u) u (|v| + |v| of the root mean square vector)

with u, a and m as in `attnprof.nn.checking.tolerance`, and 16 for the number of consecutive
roundings in a network: about 1e-4 of a vector's norm in float32, 1e-13 in float64, 0.8 % in
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
_CONSECUTIVE_ROUNDINGS = 16.0
_EXPONENTIAL_ROUNDINGS = 20.0
_GRADIENT_FACTOR = 2.0
_SEED = 20200410


def reference_digest(name: str) -> str:
    """SHA-256 of the file that defines a reference; empty where there is none.

    Raises:
        UsageError: when there is no such object, or it is not callable.
    """
    expected = "name a function or a torch module, such as pkg.mod:name"
    try:
        reference = parse_reference(name) if ":" in name else None
        if reference is None or reference.kind != "python" or reference.inputs:
            raise UsageError(_OPTION, name, expected)
        thing = load_object(reference)
    except UsageError as error:
        raise UsageError(_OPTION, name, error.expected) from error
    if not callable(thing):
        raise UsageError(_OPTION, name, f"is {type(thing).__name__}; {expected}")
    file = getattr(sys.modules[reference.location], "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def wrong_against(name: str, call: Call, workload: Workload) -> str:
    """How a call differs from the same call of a reference, in words; empty where it does not.

    Args:
        name: the reference.
        call: the custom kernel's call.
        workload: what it was built for.

    Raises:
        MeasurementError: when the reference cannot be called with these inputs.
    """
    device = torch.device(workload.device)
    runs: list[dict[str, Tensor]] = []
    for unwritten in tries(workload.seq_len):
        with holding_nan(device, unwritten):
            runs.append(_results(call.module, call, call.kwargs))
    try:
        reference, kwargs = _reference(name, call, workload)
        expected = _results(reference, call, kwargs)
    except Exception as error:
        raise MeasurementError(f"reference {name}: {describe_error(error)}") from error
    differences = (
        _difference_of(label, results[label], right, workload)
        for results in runs
        for label, right in expected.items()
    )
    return next(filter(None, differences), "")


def _reference(name: str, call: Call, workload: Workload) -> tuple[nn.Module, dict[str, Any]]:
    """The reference as a module, and its keyword arguments."""
    reference = parse_reference(name)
    function = load_object(reference)
    if not _takes_inputs(function, call.kwargs):
        function = PythonTarget(reference).made(workload)
    kwargs = dict(call.kwargs)
    checked = call.module.module if isinstance(call.module, CalledByPosition) else call.module
    if isinstance(function, nn.Module):
        _share_weights(checked, function)
    elif _MODULE in signature_of(function) and _MODULE not in kwargs:
        kwargs[_MODULE] = checked
    return as_module(function, kwargs), kwargs


def _takes_inputs(thing: Any, inputs: Mapping[str, Any]) -> bool:
    """Whether it is a function of the inputs, and not a module class or a factory of modules."""
    if isinstance(thing, type | nn.Module):
        return False
    try:
        needed = required(signature_of(thing))
    except ValueError:  # a builtin
        return True
    return bool(needed) and {*inputs, _MODULE}.issuperset(needed)


def _share_weights(checked: nn.Module, reference: nn.Module) -> None:
    """Load the weights of the checked module into the reference.

    Raises:
        MeasurementError: when the names of their weights differ.
    """
    names, weights = reference.state_dict().keys(), checked.state_dict()
    if names != weights.keys():
        unmatched = sorted(names ^ weights.keys())
        raise MeasurementError(
            f"its weights are not those of the checked module: {', '.join(unmatched[:3])}"
        )
    reference.load_state_dict(weights)


def _results(module: nn.Module, call: Call, kwargs: Mapping[str, Any]) -> dict[str, Tensor]:
    """The output and, in training, the gradients of floating point inputs.

    Args:
        module: the module to call.
        call: the custom kernel's call, whose mode and inputs are used.
        kwargs: all arguments; those that are not inputs of `call` are passed as they are.
    """
    is_training = call.mode == "training"
    leaves: dict[int, Tensor] = {}

    def as_leaf(tensor: Tensor) -> Tensor:
        copy = tensor.detach().clone()
        if is_training and copy.is_floating_point():
            leaves[len(leaves)] = copy.requires_grad_()
        return copy

    inputs = tree_map_only(Tensor, as_leaf, {name: kwargs[name] for name in call.kwargs})
    with torch.set_grad_enabled(is_training):
        output = Call(module, {**kwargs, **inputs}, call.mode).forward()
        results = {"output": output.detach()}
        if is_training and output.requires_grad:
            generator = torch.Generator().manual_seed(_SEED)
            output_gradient = torch.randn(output.shape, generator=generator).to(output)
            gradients = cast(
                "Sequence[Tensor | None]",
                torch.autograd.grad(
                    output, list(leaves.values()), output_gradient, allow_unused=True
                ),
            )
            for number, gradient in enumerate(gradients):
                results[f"gradient of input {number}"] = (
                    torch.zeros_like(leaves[number]) if gradient is None else gradient
                )
    return results


def _difference_of(label: str, got: Tensor, expected: Tensor, workload: Workload) -> str:
    """How one tensor differs from that of the reference, in words; empty where it does not.

    Args:
        label: what the tensor is, such as `output`.
        got: of the custom kernel.
        expected: of the reference.
        workload: what both were built for.

    Raises:
        MeasurementError: when the reference's tensor is not finite.
    """
    if got.shape != expected.shape:
        return f"{label} has shape {tuple(got.shape)}, the reference {tuple(expected.shape)}"
    if expected.dim() == 0:
        got, expected = got[None], expected[None]
    if not bool(expected.isfinite().all()):
        raise MeasurementError(f"its {label} is not finite")
    expected = expected.double()
    dtype = getattr(torch, workload.dtype)
    factor = 1.0 if label == "output" else _GRADIENT_FACTOR
    largest = difference(got, expected, factor * _tolerance(expected, dtype, workload))
    if largest is None:
        return ""
    index = f"index ({', '.join(map(str, largest.index))})"
    return f"{label} is {largest.described(index, dtype)}"


def _tolerance(expected: Tensor, dtype: torch.dtype, workload: Workload) -> Tensor:
    """The tolerance of each vector along the last dimension; see the module's docstring."""
    unit = torch.finfo(dtype).eps / 2
    accumulated = torch.finfo(torch.promote_types(dtype, torch.float32)).eps / 2
    summands = max(workload.seq_len, 4 * workload.hidden_size)
    norms = expected.norm(dim=-1)
    typical = norms.square().mean().sqrt()
    rounding = unit + (_EXPONENTIAL_ROUNDINGS + math.sqrt(summands)) * accumulated
    return _CONSECUTIVE_ROUNDINGS * rounding * (norms + typical)
