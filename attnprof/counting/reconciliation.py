"""Predict what a counter reports for a run by its rule, and name each difference.

The rule says what the counter adds for each call that it can observe: the call of a module, of a
function (by the path under which callers find it) or of an operator. It adds MACs for the products
inside the call, and work that is not MACs. A product inside no counted call is not counted; one
inside two counted calls is counted twice. The counter's sum follows, with every difference from the
operator-level count by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from attnprof.counting.call import Call
from attnprof.counting.call_hooks import idle_hooks, module_hooks, patched_function
from attnprof.counting.operator_counts import intercept_operators

Kind = Literal["module", "function", "operator"]

_REPEATED_MODULES = "shared modules counted once per occurrence"

_NAMING_FUNCTIONS = {
    "torch.einsum": "einsum",
    "torch.Tensor.__matmul__": "operator @",
    "torch.nn.functional.linear": "functional.linear",
    "torch.nn.functional.scaled_dot_product_attention": "scaled_dot_product_attention",
}
"""Functions by which products inside them are named if a counter does not count them."""


@dataclass(frozen=True, slots=True)
class CallEvent:
    """One call that a counter can observe.

    Attributes:
        kind: what is called.
        subject: the module; the path of the function, such as `torch.matmul`; the operator with
            all its overloads, such as `torch.ops.aten.mm`.
        args: positional arguments.
        kwargs: keyword arguments; empty for modules, whose hooks do not get them.
        output: what the call returned.
        macs: operator-level MACs of all products inside.
        is_outermost: false for an operator inside another one, such as those inside einsum.
        occurrences: how often the module that is called, or that calls, occurs in the module tree.
    """

    kind: Kind
    subject: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any
    macs: int
    is_outermost: bool = True
    occurrences: int = 1


@dataclass(frozen=True, slots=True)
class CounterEntry:
    """What a counter adds for one call.

    Attributes:
        products: MACs that it adds for the products inside; None if it does not count them.
        extras: what else it adds that is not MACs, by name.
        mismatch: why `products` differs from the operator-level MACs, if it does.
        times: how often it adds all this: some count a module once per occurrence in the tree.
    """

    products: int | None = None
    extras: Mapping[str, int] = field(default_factory=dict[str, int])
    mismatch: str = "shapes misread"
    times: int = 1


CounterRule = Callable[[CallEvent], "CounterEntry | None"]
"""What a counter adds for a call; None if nothing."""


@dataclass(slots=True)
class Reconciliation:
    """What a counter must report if its rule is right.

    Attributes:
        true_macs: operator-level MACs of the run.
        differences: what the counter adds or misses, by name; its count is `true_macs` and all
            these.
    """

    true_macs: int
    differences: Counter[str] = field(default_factory=Counter[str])

    @property
    def counted_macs(self) -> int:
        """The counter's sum."""
        return self.true_macs + self.differences.total()


def reconcile(
    run: Callable[[], object],
    rule: CounterRule,
    functions: Iterable[str] = (),
    hooked: Iterable[nn.Module] = (),
) -> Reconciliation:
    """Run, and predict by a counter's rule what it counts.

    Args:
        run: on real tensors, or on fake ones inside `fake_mode`.
        rule: the counter's rule.
        functions: paths of the functions that the counter patches, such as `torch.matmul`.
        hooked: the modules that the counter hooks, as often as it hooks each (`occurrences` lists
            them once per place in the tree). Hooks matter: torch's encoder layers, for example, do
            not use their fused operator if there are any.

    Raises:
        MeasurementError: if the run has operators without a MAC formula.
    """
    ledger = _Ledger(rule, Counter(hooked))
    with ExitStack() as stack:
        stack.enter_context(module_hooks(ledger.before_module, ledger.after_module))
        stack.enter_context(idle_hooks(ledger.occurrences))
        for path in dict.fromkeys([*functions, *_NAMING_FUNCTIONS]):
            stack.enter_context(patched_function(path, ledger.wrap_function))
        stack.enter_context(intercept_operators(ledger.add_product, around=ledger.run_operator))
        run()
    return ledger.result()


def run_forward(call: Call, without_gradients: Callable[[], Any] = torch.no_grad) -> None:
    """Run the call as most counters do: forward only, in eval mode, without gradients.

    Args:
        call: the call.
        without_gradients: in `torch.inference_mode`, composite operators such as einsum are
            dispatched as one operator.
    """
    kwargs = tree_map_only(torch.Tensor, torch.Tensor.detach, call.kwargs)
    with without_gradients():
        call.module.eval()(**kwargs)


def occurrences(root: nn.Module) -> Iterator[nn.Module]:
    """The modules of a tree as `nn.Module.apply` visits them: shared ones once per occurrence."""
    yield root
    for child in root.children():
        yield from occurrences(child)


@dataclass(slots=True)
class _Product:
    """Products of one operator, and how many counted calls they are inside of."""

    name: str
    macs: int
    times_counted: int = 0


@dataclass(slots=True)
class _Ledger:
    """Collects the products of a run and what the counter adds for its calls.

    Attributes:
        rule: the counter's rule.
        occurrences: how often each hooked module occurs in the tree.
        products: those executed so far.
        differences: those found so far, by name.
        functions: paths of the patched functions that are running, outermost first.
        modules: for each running module, outermost first: the number of products before it, and
            how often it occurs in the tree.
        is_in_operator: whether an operator is running.
    """

    rule: CounterRule
    occurrences: Counter[nn.Module]
    products: list[_Product] = field(default_factory=list[_Product])
    differences: Counter[str] = field(default_factory=Counter[str])
    functions: list[str] = field(default_factory=list[str])
    modules: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    is_in_operator: bool = False

    def add_product(self, module_path: str, operator: str, macs: int | None) -> None:
        """Add the products of one operator that ran."""
        if macs:
            self.products.append(_Product(_product_name(operator, self.functions), macs))

    def run_operator(self, func: Any, args: Any, kwargs: Any, run: Callable[[], Any]) -> Any:
        """Run an operator and enter what the counter adds for it."""
        is_inner, since = self.is_in_operator, len(self.products)
        self.is_in_operator = True
        try:
            output = run()
        finally:
            self.is_in_operator = is_inner
        operator, macs = getattr(func, "overloadpacket", func), self._macs_since(since)
        self._enter(
            CallEvent("operator", operator, args, kwargs, output, macs, is_outermost=not is_inner),
            since,
        )
        return output

    def wrap_function(self, path: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that enters what the counter adds for each of its calls.

        Calls from inside an operator, such as from the Python code of fake tensors, are not
        entered.
        """

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if self.is_in_operator:
                return function(*args, **kwargs)
            since = len(self.products)
            self.functions.append(path)
            try:
                output = function(*args, **kwargs)
            finally:
                self.functions.pop()
            caller_occurrences = self.modules[-1][1] if self.modules else 1
            macs = self._macs_since(since)
            self._enter(
                CallEvent(
                    "function", path, args, kwargs, output, macs, occurrences=caller_occurrences
                ),
                since,
            )
            return output

        return wrapper

    def before_module(self, module: nn.Module, args: Any) -> None:
        """A hook: the module is about to run."""
        self.modules.append((len(self.products), self.occurrences[module] or 1))

    def after_module(self, module: nn.Module, args: Any, output: Any) -> None:
        """A hook: the module has run; enter what the counter adds for it."""
        since, occurrences = self.modules.pop()
        macs = self._macs_since(since)
        self._enter(
            CallEvent("module", module, args, {}, output, macs, occurrences=occurrences), since
        )

    def result(self) -> Reconciliation:
        """All differences of the run, including products counted never or more than once."""
        differences = Counter(self.differences)
        for product in self.products:
            if product.times_counted == 0:
                differences[f"{product.name} not counted"] -= product.macs
            elif product.times_counted > 1:
                differences["counted twice"] += (product.times_counted - 1) * product.macs
        nonzero = Counter({name: macs for name, macs in differences.items() if macs})
        return Reconciliation(self._macs_since(0), nonzero)

    def _enter(self, event: CallEvent, since: int) -> None:
        """Enter what the counter adds for a call that began after `since` products."""
        entry = self.rule(event)
        if entry is None:
            return
        self.differences.update(entry.extras)
        added_once = sum(entry.extras.values()) + (entry.products or 0)
        self.differences[_REPEATED_MODULES] += (entry.times - 1) * added_once
        if entry.products is None:
            return
        for product in self.products[since:]:
            product.times_counted += 1
        self.differences[entry.mismatch] += entry.products - event.macs

    def _macs_since(self, since: int) -> int:
        return sum(product.macs for product in self.products[since:])


def _product_name(operator: str, functions: list[str]) -> str:
    """How to name products: fused attention, the function that runs, or the operator."""
    short = operator.rpartition(".")[2]
    if short == "flex_attention":
        return "FlexAttention"
    if "attention" in short:
        return "fused attention"
    naming = [path for path in functions if path in _NAMING_FUNCTIONS]
    return _NAMING_FUNCTIONS[naming[-1]] if naming else short
