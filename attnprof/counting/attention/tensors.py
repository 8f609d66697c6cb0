"""The expression of each tensor of a run, through views of it and writes to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from attnprof.counting.attention.building import Builder
from attnprof.counting.attention.expressions import Expression
from attnprof.counting.attention.views import Step
from attnprof.counting.constant_propagation import constant_value, derivation_of
from attnprof.counting.derivations import Derivation


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """A product of two tensors that depend on data: perhaps of queries and keys.

    Attributes:
        module_path: of the module that computes it.
        pairs: elements of the result.
        inner: elements that each is summed over.
        macs: of the operator.
        key_copies: how often each key was repeated before.
    """

    module_path: str
    pairs: int
    inner: int
    macs: int
    key_copies: int


@dataclass(frozen=True, slots=True)
class Origin:
    """What a tensor comes from.

    Attributes:
        products: those whose elements are its scores.
        softmaxes: indices of those whose weights it holds.
    """

    products: frozenset[Product] = frozenset()
    softmaxes: frozenset[int] = frozenset()

    @property
    def pairs(self) -> int:
        """Elements of all products."""
        return sum(product.pairs for product in self.products)


NO_ORIGIN = Origin()


def joined(origins: Sequence[Origin]) -> Origin:
    """The origin of a tensor that holds elements of several."""
    return Origin(
        frozenset[Product]().union(*(origin.products for origin in origins)),
        frozenset[int]().union(*(origin.softmaxes for origin in origins)),
    )


def added(origins: Sequence[Origin], elements: int) -> Origin:
    """The origin of a sum of so many elements: its scores are those of one of the tensors.

    In attention with relative positions, another product is added to that of queries and keys,
    moved into its places; it has more elements, or fewer.
    """

    def rank(origin: Origin) -> tuple[bool, int]:
        return origin.pairs == elements, origin.pairs

    return Origin(max(origins, key=rank).products, joined(origins).softmaxes)


@dataclass(slots=True, eq=False)
class _Base:
    """A tensor that is no view; its expression changes when it or a view of it is written to."""

    expression: Expression
    origin: Origin
    version: int = 0


@dataclass(slots=True, eq=False)
class _Tracked:
    """A tensor: a view of a base, by steps."""

    base: _Base
    steps: tuple[Step, ...]
    expression: Expression
    version: int = 0


@dataclass(slots=True)
class TrackedTensors:
    """Expressions of tensors, by identity.

    Attributes:
        build: makes expressions.
        replay: follows the operator that made a large constant before tensors were tracked.
    """

    build: Builder
    replay: Callable[[Derivation, Tensor], None]
    _tracked: Any = field(default_factory=WeakIdKeyDictionary)
    _copies: Any = field(default_factory=WeakIdKeyDictionary)

    def expression(self, tensor: Tensor) -> Expression:
        """The expression of a tensor as it is now."""
        tracked = self._tracked.get(tensor)
        if tracked is None:
            return self._of_untracked(tensor)
        if tracked.version != tracked.base.version:
            tracked.expression = self._replayed(tracked)[-1]
            tracked.version = tracked.base.version
        if tracked.expression.shape != tensor.shape:
            return self.build.lost(tracked.expression, "its shape was changed", tensor.shape)
        return tracked.expression

    def outputs(self, tensors: Iterable[Tensor]) -> list[tuple[Tensor, Expression]]:
        """Those tensors that hold outputs of attention, with their expressions."""
        tracked = [(one, self.expression(one)) for one in tensors if one in self._tracked]
        return [(tensor, expression) for tensor, expression in tracked if expression.is_output]

    def origin(self, tensor: Tensor) -> Origin:
        """What a tensor comes from."""
        tracked = self._tracked.get(tensor)
        return NO_ORIGIN if tracked is None else tracked.base.origin

    def add(self, tensor: Tensor, expression: Expression, origin: Origin = NO_ORIGIN) -> None:
        """Track a tensor that is no view."""
        self._tracked[tensor] = _Tracked(_Base(expression, origin), (), expression)

    def add_view(self, view: Tensor, tensor: Tensor, steps: Sequence[Step]) -> None:
        """Track a view of a tensor."""
        tracked = self._ensured(tensor)
        expression = self.expression(tensor)
        for step in steps:
            expression = step.forward(self.build, expression)
        base = tracked.base
        self._tracked[view] = _Tracked(base, (*tracked.steps, *steps), expression, base.version)

    def become(self, tensor: Tensor, view: Tensor) -> None:
        """A tensor takes the shape of a view of it, in place."""
        self._tracked[tensor] = self._tracked[view]

    def write(self, tensor: Tensor, expression: Expression, origin: Origin) -> None:
        """All elements of a tensor, which may be a view, become those of an expression."""
        tracked = self._ensured(tensor)
        base = tracked.base
        before = self._replayed(tracked)
        for step, outer in zip(reversed(tracked.steps), reversed(before[:-1]), strict=True):
            expression = step.backward(self.build, outer, expression)
        base.expression = expression
        base.origin = joined([base.origin, origin]) if tracked.steps else origin
        base.version += 1

    def copies_of(self, tensor: Tensor) -> int:
        """How often its elements were repeated."""
        return self._copies.get(tensor, 1)

    def pass_copies(self, result: Tensor, tensor: Tensor) -> None:
        """The elements of a result are those of a tensor, perhaps repeated."""
        copies = self.copies_of(tensor)
        if tensor.numel() and result.numel() > tensor.numel():
            copies *= result.numel() // tensor.numel()
        if copies > 1:
            self._copies[result] = copies

    def ensure(self, tensor: Tensor) -> None:
        """Track a tensor as it is now, before it is written to."""
        self._ensured(tensor)

    def _ensured(self, tensor: Tensor) -> _Tracked:
        if tensor not in self._tracked:
            self.add(tensor, self._of_untracked(tensor))
        return self._tracked[tensor]

    def _replayed(self, tracked: _Tracked) -> list[Expression]:
        """The expressions of the base and of the view after each step."""
        expressions = [tracked.base.expression]
        for step in tracked.steps:
            expressions.append(step.forward(self.build, expressions[-1]))
        return expressions

    def _of_untracked(self, tensor: Tensor) -> Expression:
        """A constant whose value is known, or data."""
        is_parameter = isinstance(tensor, nn.Parameter)
        if not is_parameter:
            value = constant_value(tensor)
            if value is not None and not value.dtype.is_complex:
                return self.build.constant(value)
            derivation = derivation_of(tensor)
            if derivation is not None:
                return self._derived(derivation, tensor)
        return self.build.data(tensor.shape, tensor.dtype, is_parameter)

    def _derived(self, derivation: Derivation, tensor: Tensor) -> Expression:
        """A constant that is too large for its values to be known."""
        if not derivation.is_current(tensor):
            return self.build.unknown(tensor.shape, tensor.dtype, "its mask was written to")
        self.replay(derivation, tensor)
        return self._tracked[tensor].expression
