"""What a counter sees of a run, span by span, beside what the run multiplies.

A span is one thing that a counter can take note of: the call of a module, of a function by the name
that callers find it under, or of an operator. For each the counter's rule says what it adds: MACs
that it means for the products inside, and work that is no MACs. Every product that no span covers
is not seen, one that two spans cover is counted twice; so the counter's sum follows, each
difference to the truth by name.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from attnprof.counting.call import Call
from attnprof.counting.operator_counts import intercept_operators

Kind = Literal["module", "function", "operator"]

_AT_EVERY_PLACE = "shared modules counted at every place"

_NAMING_FUNCTIONS = {
    "torch.einsum": "einsum",
    "torch.Tensor.__matmul__": "the operator @",
    "torch.nn.functional.linear": "linear as a function",
    "torch.nn.functional.scaled_dot_product_attention": "scaled_dot_product_attention",
}
"""Functions that name the products inside which a counter does not see."""


@dataclass(frozen=True, slots=True)
class CallEvent:
    """One call that a counter can take note of.

    Attributes:
        kind: of what.
        subject: the module; the function's place, such as `torch.matmul`; the operator, all
            overloads, such as `torch.ops.aten.mm`.
        args: of the call, by position.
        kwargs: of the call, by keyword; a module's are not told.
        output: what it returned.
        macs: of all products inside, as they were multiplied.
        is_outermost: false for an operator that another one, such as einsum, is made of.
        places: at how many places of the tree the module stands that is called, or that calls.
    """

    kind: Kind
    subject: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any
    macs: int
    is_outermost: bool = True
    places: int = 1


@dataclass(frozen=True, slots=True)
class CounterEntry:
    """What a counter adds for a span.

    Attributes:
        products: MACs that it means for the products inside; None where it means none of them.
        extras: what else it adds, by name: it is no MACs.
        misfit: why `products` differs from what is multiplied, where it does.
        times: how often it adds all this: some count a module at every place where it stands.
    """

    products: int | None = None
    extras: Mapping[str, int] = field(default_factory=dict[str, int])
    mismatch: str = "shapes misread"
    times: int = 1


CounterRule = Callable[[CallEvent], "CounterEntry | None"]
"""A counter's rule."""


@dataclass(slots=True)
class Reconciliation:
    """What a counter must have counted, if its rule is right.

    Attributes:
        true_macs: of the run.
        differences: what the counter adds or leaves out, by name; it counts the sum of all this.
    """

    true_macs: int
    differences: Counter[str] = field(default_factory=Counter[str])

    @property
    def counted_macs(self) -> int:
        """The counter's sum."""
        return self.true_macs + self.differences.total()


@dataclass(slots=True)
class _Product:
    """Products of one operator, and how many spans of the counter cover them."""

    name: str
    macs: int
    covers: int = 0


@dataclass(slots=True)
class _Ledger:
    """Keeps the account while the run goes on."""

    rule: CounterRule
    products: list[_Product] = field(default_factory=list[_Product])
    differences: Counter[str] = field(default_factory=Counter[str])
    functions: list[str] = field(default_factory=list[str])

    def enter(self, sight: CounterEntry | None, since: int, macs: int) -> None:
        """Take note of what the counter adds for a span that began at product `since`."""
        if sight is None:
            return
        self.differences.update(sight.extras)
        once = sum(sight.extras.values()) + (sight.products or 0)
        self.differences[_AT_EVERY_PLACE] += (sight.times - 1) * once
        if sight.products is None:
            return
        for product in self.products[since:]:
            product.covers += 1
        self.differences[sight.mismatch] += sight.products - macs

    def macs_since(self, since: int) -> int:
        return sum(product.macs for product in self.products[since:])

    def result(self) -> Reconciliation:
        for product in self.products:
            if product.covers == 0:
                self.differences[f"{product.name} not seen"] -= product.macs
            elif product.covers > 1:
                self.differences["counted twice"] += (product.covers - 1) * product.macs
        differences = Counter({name: macs for name, macs in self.differences.items() if macs})
        return Reconciliation(sum(product.macs for product in self.products), differences)


def reconcile(
    run: Callable[[], object],
    sees: CounterRule,
    functions: Iterable[str] = (),
    hooked: Iterable[nn.Module] = (),
) -> Reconciliation:
    """Run, and tell what a counter sees of it.

    Args:
        run: on real tensors, or on fake ones inside `fake_mode`.
        sees: the counter's rule.
        functions: the places of functions that the counter replaces, such as `torch.matmul`.
        hooked: the modules that the counter adds hooks to, as often as it does, as `every_place`
            lists them: torch's encoder layers, say, then leave their fused operator alone.

    Raises:
        MeasurementError: when the run has operators that no formula is known for.
    """
    ledger = _Ledger(sees)
    places = Counter(hooked)
    running: list[int] = []
    in_operator = False

    def on_operator(func: Any, args: Any, kwargs: Any, run: Callable[[], Any]) -> Any:
        """Python code of the operator itself, such as that of fake tensors, is no part of it."""
        nonlocal in_operator
        outer, in_operator, since = in_operator, True, len(ledger.products)
        try:
            output = run()
        finally:
            in_operator = outer
        macs = ledger.macs_since(since)
        subject = getattr(func, "overloadpacket", func)
        span = CallEvent("operator", subject, args, kwargs, output, macs, not outer)
        ledger.enter(sees(span), since, macs)
        return output

    def tell(place: str, name: str, macs: int | None) -> None:
        if macs:
            ledger.products.append(_Product(_name(name, ledger.functions), macs))

    def on_function(place: str, function: Any) -> Callable[..., Any]:
        def replaced(*args: Any, **kwargs: Any) -> Any:
            if in_operator:
                return function(*args, **kwargs)
            since = len(ledger.products)
            ledger.functions.append(place)
            try:
                output = function(*args, **kwargs)
            finally:
                ledger.functions.pop()
            macs = ledger.macs_since(since)
            span = CallEvent(
                "function", place, args, kwargs, output, macs, places=running[-1] if running else 1
            )
            ledger.enter(sees(span), since, macs)
            return output

        return replaced

    with ExitStack() as stack:
        stack.enter_context(_module_calls(ledger, places, running))
        stack.enter_context(_hooks(places))
        for place in dict.fromkeys([*functions, *_NAMING_FUNCTIONS]):
            stack.enter_context(_replaced(place, on_function))
        stack.enter_context(intercept_operators(tell, around=on_operator))
        run()
    return ledger.result()


def forward(call: Call, without_gradients: Callable[[], Any] = torch.no_grad) -> None:
    """The call as most counters run it: forward, in eval mode, without gradients.

    Args:
        call: the call.
        without_gradients: `torch.inference_mode` leaves operators such as einsum whole.
    """
    kwargs = tree_map_only(torch.Tensor, torch.Tensor.detach, call.kwargs)
    with without_gradients():
        call.module.eval()(**kwargs)


def every_place(root: nn.Module) -> Iterator[nn.Module]:
    """The modules of a tree as `nn.Module.apply` visits them: once for each of their places."""
    yield root
    for child in root.children():
        yield from every_place(child)


@contextmanager
def _hooks(modules: Iterable[nn.Module]) -> Generator[None]:
    """Each module has a hook of its own, which does nothing."""

    def nothing(module: nn.Module, args: Any, output: Any) -> None:
        return

    handles = [module.register_forward_hook(nothing) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _module_calls(
    ledger: _Ledger, places: Counter[nn.Module], running: list[int]
) -> Generator[None]:
    """Spans of modules; `running` has at how many places each of those stands that run."""
    begun: list[int] = []

    def before(module: nn.Module, args: Any) -> None:
        begun.append(len(ledger.products))
        running.append(places[module] or 1)

    def after(module: nn.Module, args: Any, output: Any) -> None:
        since = begun.pop()
        macs = ledger.macs_since(since)
        span = CallEvent("module", module, args, {}, output, macs, places=running.pop())
        ledger.enter(ledger.rule(span), since, macs)

    handles = (
        nn.modules.module.register_module_forward_pre_hook(before),
        nn.modules.module.register_module_forward_hook(after),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _replaced(place: str, replacement: Callable[[str, Any], Any]) -> Generator[None]:
    """The function at a place such as `torch.Tensor.matmul` is another one inside."""
    module, _, inner = place.rpartition(".")
    owner: Any = torch.Tensor if module == "torch.Tensor" else importlib.import_module(module)
    if not hasattr(owner, inner):
        yield
        return
    own, original = vars(owner).get(inner), getattr(owner, inner)

    def as_it_was(*args: Any, **kwargs: Any) -> Any:
        """What a class of tensors does for this function, it tells by the function itself."""
        setattr(owner, inner, original)
        try:
            return original(*args, **kwargs)
        finally:
            setattr(owner, inner, replaced)

    replaced = replacement(place, as_it_was)
    setattr(owner, inner, replaced)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, inner)
        else:
            setattr(owner, inner, own)


def _name(operator: str, functions: list[str]) -> str:
    """What to call products that are not seen: fused attention, the function, the operator."""
    short = operator.rpartition(".")[2]
    if short == "flex_attention":
        return "FlexAttention"
    if "attention" in short:
        return "fused attention"
    naming = [place for place in functions if place in _NAMING_FUNCTIONS]
    return _NAMING_FUNCTIONS[naming[-1]] if naming else short
