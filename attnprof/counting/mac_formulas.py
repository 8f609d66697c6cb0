"""The MAC formula of each operator: those of torch, of attnprof and of users.

A formula takes the operator's arguments under the names of its schema, and `result`, what the
operator returned. It returns MACs, or None if they do not follow from the shapes. Formulas count
the products that a kernel executes, masked ones included, except those that torch's source shows
it skips.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from attnprof.counting import attention_formulas, banded_formulas, layer_formulas, product_formulas

Formula = Callable[..., "int | None"]
"""Takes the operator's arguments by name and `result`; returns MACs."""

Target = Any
"""An operator with all its overloads, such as `torch.ops.aten.mm`."""

_FORMULAS: dict[Target, Formula] = {
    **product_formulas.FORMULAS,
    **attention_formulas.FORMULAS,
    **banded_formulas.FORMULAS,
    **layer_formulas.FORMULAS,
}


def register_mac_formula(target: Target, formula: Formula) -> None:
    """Count the MACs of an operator by this formula from now on.

    ```python
    register_mac_formula(torch.ops.mylib.band, lambda query, window, **_: query.numel() * window)
    ```

    Args:
        target: an operator with all its overloads, such as `torch.ops.mylib.band`, a higher-order
            operator, or a Triton kernel.
        formula: called with the operator's arguments under the names of its schema, and with
            `result`; returns MACs. Arguments of a higher-order operator are passed by position.

    Raises:
        TypeError: if `target` is something else, such as a single overload.
    """
    if isinstance(target, torch._ops.OpOverload) or not (
        isinstance(target, torch._ops.OpOverloadPacket | torch._ops.HigherOrderOperator)
        or hasattr(target, "__triton_name__")
        or hasattr(target, "run")
    ):
        raise TypeError(f"target must be an operator such as torch.ops.aten.mm, not {target!r}")
    _FORMULAS[target] = formula


def formula_of(target: Target) -> Formula | None:
    """The formula of an operator with all its overloads; None if it has none."""
    return _FORMULAS.get(target)


def arguments_of(
    operator: torch._ops.OpOverload, args: Sequence[Any], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments of a call under the names of the operator's schema, defaults included."""
    bound: dict[str, Any] = {}
    for index, argument in enumerate(operator._schema.arguments):
        if index < len(args):
            bound[argument.name] = args[index]
        elif argument.name in kwargs:
            bound[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            bound[argument.name] = argument.default_value
    return bound
