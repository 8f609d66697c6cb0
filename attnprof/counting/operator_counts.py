"""Count the MACs of every dispatched operator by module, and list the uncounted ones."""

from __future__ import annotations

import importlib
import importlib.util
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from attnprof.core.errors import MeasurementError
from attnprof.counting.mac_formulas import arguments_of, formula_of
from attnprof.counting.module_paths import ModuleCalls
from attnprof.counting.tensor_subclasses import is_made_of_plain_tensors, subclass_constructors
from attnprof.counting.zero_mac_operators import is_zero_mac

OperatorCallback = Callable[[str, str, "int | None"], None]
"""Called for each operator with the path of its module, its name, and its MACs or None."""

OperatorWrapper = Callable[[Any, "tuple[Any, ...]", "dict[str, Any]", Callable[[], Any]], Any]
"""Runs an operator: takes it, its arguments, and a function that runs it and returns its result."""


@dataclass(slots=True)
class OperatorTally:
    """What one operator did in one module.

    Attributes:
        calls: how often it was called.
        macs: MACs of all calls together; 0 if `is_counted` is false.
        is_counted: false if it has floating-point inputs or outputs and no formula.
    """

    calls: int = 0
    macs: int = 0
    is_counted: bool = True


@dataclass(slots=True)
class OperatorCounts:
    """MACs of one call by module and operator.

    Attributes:
        tallies: by the path of the innermost module (`""` for the root) and the operator's name,
            such as `aten.addmm`.
    """

    tallies: dict[tuple[str, str], OperatorTally] = field(
        default_factory=lambda: defaultdict(OperatorTally)
    )

    def add(self, module_path: str, operator: str, macs: int | None) -> None:
        """Add one call of an operator; `macs` is None if it has no formula."""
        tally = self.tallies[module_path, operator]
        tally.calls += 1
        tally.macs += macs or 0
        tally.is_counted &= macs is not None

    @property
    def macs(self) -> int:
        """MACs of all operators that have a formula."""
        return sum(tally.macs for tally in self.tallies.values())

    @property
    def uncounted(self) -> dict[str, int]:
        """Calls of operators that compute with floats and have no formula, by name."""
        calls: dict[str, int] = defaultdict(int)
        for (_, operator), tally in self.tallies.items():
            if not tally.is_counted:
                calls[operator] += tally.calls
        return dict(calls)

    @property
    def complete_macs(self) -> int:
        """MACs of all operators.

        Raises:
            MeasurementError: if one is uncounted, since the sum would be too small.
        """
        if self.uncounted:
            raise MeasurementError(describe_uncounted(self.uncounted))
        return self.macs


def describe_uncounted(uncounted: dict[str, int]) -> str:
    """The message about operators without a formula, given the calls of each."""
    names = ", ".join(
        f"{name} (1 call)" if calls == 1 else f"{name} ({calls} calls)"
        for name, calls in sorted(uncounted.items())
    )
    return f"no MAC formula for {names}; register one with attnprof.register_mac_formula"


def count_operators(run: Callable[[], object]) -> OperatorCounts:
    """The operators of one call, on real tensors or, inside a `FakeTensorMode`, on fake ones.

    Functions made by `torch.compile` are counted as they are written, not as compiled. Triton
    kernels are counted. Other kernels that torch does not dispatch, such as those of a C++
    extension without `torch.library`, are not.
    """
    counts = OperatorCounts()
    with intercept_operators(counts.add):
        run()
    return counts


def _call_unwrapped(func: Any, args: Any, kwargs: Any, run: Callable[[], Any]) -> Any:
    return run()


@contextmanager
def intercept_operators(
    on_operator: OperatorCallback, around: OperatorWrapper = _call_unwrapped
) -> Generator[Callable[[], str]]:
    """Report each operator that runs inside.

    Args:
        on_operator: called after each operator.
        around: runs each operator, including composite ones, which torch dispatches whole in
            inference mode.

    Yields:
        A function that returns the path of the module that is running.
    """
    with (
        torch.compiler.set_stance("force_eager"),
        subclass_constructors(),
        ModuleCalls() as calls,
        _triton_launches(lambda name, macs: on_operator(calls.module_path(), name, macs)),
        _Dispatch(calls, on_operator, around),
    ):
        yield calls.module_path


class _Dispatch(TorchDispatchMode):
    """Intercepts each operator below autograd, with the path of the module that runs."""

    supports_higher_order_operators = True

    def __init__(
        self, calls: ModuleCalls, on_operator: OperatorCallback, around: OperatorWrapper
    ) -> None:
        super().__init__()
        self._calls = calls
        self._on_operator = on_operator
        self._around = around

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if is_made_of_plain_tensors(types):
            return NotImplemented
        if getattr(func, "namespace", "") == "prim":  # queries of a tensor, such as its device
            return func(*args, **kwargs)
        return self._around(func, args, kwargs, lambda: self._run(func, args, kwargs))

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        formula = formula_of(getattr(func, "overloadpacket", func))
        if formula is None and isinstance(func, torch._ops.OpOverload):
            # In inference mode composite operators are dispatched whole: count their parts.
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        macs: int | None
        if formula is None:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if _is_tensor(leaf)]
            macs = 0 if is_zero_mac(func, tensors) else None
        elif isinstance(func, torch._ops.OpOverload):
            macs = formula(**arguments_of(func, args, kwargs), result=result)
        else:
            macs = formula(*args, **kwargs, result=result)
        self._on_operator(
            self._calls.module_path(), operator_name(func), None if macs is None else int(macs)
        )
        return result


def _is_tensor(leaf: object) -> bool:
    return isinstance(leaf, Tensor)


def operator_name(func: Any) -> str:
    """The name without the overload, such as `aten.addmm`; or that of a higher-order operator."""
    return str(getattr(func, "overloadpacket", func))


@contextmanager
def _triton_launches(on_launch: Callable[[str, int | None], None]) -> Generator[None]:
    """Report each Triton kernel that is launched, by name with its MACs.

    torch does not dispatch Triton kernels.
    """
    if importlib.util.find_spec("triton") is None:
        yield
        return
    kernels: Any = importlib.import_module("triton.runtime.jit").JITFunction
    run: Any = kernels.run

    def reporting_run(kernel: Any, *args: Any, **kwargs: Any) -> Any:
        formula = formula_of(kernel)
        result = run(kernel, *args, **kwargs)
        macs = None if formula is None else formula(*args, **kwargs, result=result)
        on_launch(f"triton.{kernel.__name__}", macs)
        return result

    kernels.run = reporting_run
    try:
        yield
    finally:
        kernels.run = run
