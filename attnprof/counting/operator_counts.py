"""Counts the MACs of every operator that torch dispatches, by module, and tells what it missed."""

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
from attnprof.counting.tensor_subclasses import constructors, is_made_of_plain_tensors
from attnprof.counting.zero_mac_operators import is_zero_mac

OperatorCallback = Callable[[str, str, "int | None"], None]
"""Told of an operator: the path of its module, its name, its MACs or None."""

OperatorWrapper = Callable[[Any, "tuple[Any, ...]", "dict[str, Any]", Callable[[], Any]], Any]
"""Runs an operator: given it, its arguments, and what runs it and returns its result."""


@dataclass(slots=True)
class OperatorTally:
    """What one operator did in one module.

    Attributes:
        calls: how often it was called.
        macs: what it multiplied, all calls together; 0 where `is_counted` is false.
        is_counted: false where it touched floats and no formula knows it.
    """

    calls: int = 0
    macs: int = 0
    is_counted: bool = True


@dataclass(slots=True)
class OperatorCounts:
    """MACs of one call by module and operator.

    Attributes:
        tallies: by the path of the innermost module, `""` for the one that is called, and the
            operator's name, such as `aten.addmm`.
    """

    tallies: dict[tuple[str, str], OperatorTally] = field(
        default_factory=lambda: defaultdict(OperatorTally)
    )

    def add(self, place: str, name: str, macs: int | None) -> None:
        """One call of an operator; MACs are None where no formula knows it."""
        entry = self.tallies[place, name]
        entry.calls += 1
        entry.macs += macs or 0
        entry.is_counted &= macs is not None

    @property
    def macs(self) -> int:
        """MACs of all operators that have a formula."""
        return sum(tally.macs for tally in self.tallies.values())

    @property
    def uncounted(self) -> dict[str, int]:
        """Calls of the operators that touch floats and have no formula, by name."""
        calls: dict[str, int] = defaultdict(int)
        for (_, operator), tally in self.tallies.items():
            if not tally.is_counted:
                calls[operator] += tally.calls
        return dict(calls)

    @property
    def complete_macs(self) -> int:
        """MACs of all operators.

        Raises:
            MeasurementError: when one is uncounted: a count with holes is no count.
        """
        if self.uncounted:
            raise MeasurementError(describe_uncounted(self.uncounted))
        return self.macs


def describe_uncounted(uncounted: dict[str, int]) -> str:
    """Which operators have no formula, in words."""
    names = ", ".join(
        f"{name} ({calls} call{'s' * (calls > 1)})" for name, calls in sorted(uncounted.items())
    )
    return f"no MAC formula for {names}: give one with attnprof.register_mac_formula"


def count_operators(run: Callable[[], object]) -> OperatorCounts:
    """The operators of one call, on real tensors or, inside a `FakeTensorMode`, on fake ones.

    Functions that `torch.compile` made are counted as they are written, not as compiled; kernels
    that torch does not dispatch, such as those of a C++ extension without `torch.library`, are not
    seen, Triton's are.
    """
    counts = OperatorCounts()
    with intercept_operators(counts.add):
        run()
    return counts


def _call_unwrapped(func: Any, args: Any, kwargs: Any, run: Callable[[], Any]) -> Any:
    return run()


@contextmanager
def intercept_operators(
    tell: OperatorCallback, around: OperatorWrapper = _call_unwrapped
) -> Generator[Callable[[], str]]:
    """Tell of each operator that runs inside: its place, its name, its MACs or None.

    Yields what tells the path of the module that runs.

    `around` runs each of them, and those that are made of others, which reach here in inference
    mode, too.
    """
    with (
        torch.compiler.set_stance("force_eager"),
        constructors(),
        ModuleCalls() as calls,
        _triton_launches(lambda name, macs: tell(calls.module_path(), name, macs)),
        _Dispatch(calls, tell, around),
    ):
        yield calls.module_path


class _Dispatch(TorchDispatchMode):
    """Sees each operator below autograd, with its place in the module tree."""

    supports_higher_order_operators = True

    def __init__(self, calls: ModuleCalls, tell: OperatorCallback, around: OperatorWrapper) -> None:
        super().__init__()
        self._calls = calls
        self._tell = tell
        self._around = around

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if is_made_of_plain_tensors(types):
            return NotImplemented
        if getattr(func, "namespace", "") == "prim":  # asks a tensor for its device, say
            return func(*args, **kwargs)
        return self._around(func, args, kwargs, lambda: self._run(func, args, kwargs))

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        formula = formula_of(getattr(func, "overloadpacket", func))
        if formula is None and isinstance(func, torch._ops.OpOverload):
            # What is made of other operators reaches here whole in inference mode.
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        macs: int | None
        if formula is None:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if _is_tensor(leaf)]
            macs = 0 if is_zero_mac(func, tensors) else None
        elif isinstance(func, torch._ops.OpOverload):
            macs = formula(**arguments_of(func, args, kwargs), result=result)
        else:
            macs = formula(*args, **kwargs, result=result)
        self._tell(
            self._calls.module_path(), operator_name(func), None if macs is None else int(macs)
        )
        return result


def _is_tensor(leaf: object) -> bool:
    return isinstance(leaf, Tensor)


def operator_name(func: Any) -> str:
    """`aten.addmm`, or the name of a higher-order operator."""
    return str(getattr(func, "overloadpacket", func))


@contextmanager
def _triton_launches(tell: Callable[[str, int | None], None]) -> Generator[None]:
    """Tell of each Triton kernel that is launched: torch does not dispatch them."""
    if importlib.util.find_spec("triton") is None:
        yield
        return
    kernels: Any = importlib.import_module("triton.runtime.jit").JITFunction
    run: Any = kernels.run

    def told(kernel: Any, *args: Any, **kwargs: Any) -> Any:
        formula = formula_of(kernel)
        result = run(kernel, *args, **kwargs)
        macs = None if formula is None else formula(*args, **kwargs, result=result)
        tell(f"triton.{kernel.__name__}", macs)
        return result

    kernels.run = told
    try:
        yield
    finally:
        kernels.run = run
