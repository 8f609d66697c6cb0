"""Find the attention of a call on fake tensors, and count the pairs that its masks let through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from attnprof.counting.attention.banded import BANDED, banded_call
from attnprof.counting.attention.building import Builder, makes_mask
from attnprof.counting.attention.calls import AttentionCall, AttentionCalls
from attnprof.counting.attention.chains import (
    PRODUCTS,
    SOFTMAXES,
    Chains,
    Softmax,
    call_of_chain,
    combined_origin,
)
from attnprof.counting.attention.expressions import Data, Expression
from attnprof.counting.attention.flex import (
    FlexAttention,
    ListedBlocks,
    call_of_flex,
    flex_attention_call,
)
from attnprof.counting.attention.fused import FUSED, PACKED, FusedAttention, call_of_fused
from attnprof.counting.attention.operators import (
    FOLLOWED,
    is_pointwise,
    lost,
    pointwise,
    reduction,
)
from attnprof.counting.attention.pair_counts import count_pairs
from attnprof.counting.attention.tensors import NO_ORIGIN, Product, TrackedTensors
from attnprof.counting.attention.views import steps_to
from attnprof.counting.constant_propagation import constant_value
from attnprof.counting.derivations import Derivation
from attnprof.counting.mac_formulas import arguments_of, formula_of
from attnprof.counting.operator_counts import intercept_operators

_Found = Softmax | FusedAttention | FlexAttention | AttentionCall

_FEW_ELEMENTS = 2**12
"""Constants with no more elements are kept as they are."""


def attention_calls(run: Callable[[], object]) -> AttentionCalls:
    """Every attention of the forward pass of one call, in the order in which it runs.

    Call it inside `fake_mode`, with a module that was built inside the same one:
    `on_fake_tensors_alone(build, lambda call: attention_calls(call.run), "...")`. The backward
    pass, and what a checkpoint runs again in it, is no further attention.

    Args:
        run: does the call.
    """
    tracer = Tracer()
    with intercept_operators(tracer.note_macs, tracer.run) as module_path:
        tracer.module_path = module_path
        run()
    return tracer.calls()


class Tracer:
    """Follows the operators of a run.

    Attributes:
        module_path: returns the path of the module that runs.
    """

    def __init__(self) -> None:
        self.module_path: Callable[[], str] = str
        self._tensors = TrackedTensors(Builder(), self._replay)
        self._chains = Chains(self._tensors)
        self._found: list[_Found] = []
        self._unrecognised: list[str] = []
        self._macs = 0
        self._counts: dict[Any, int] = {}

    def note_macs(self, module_path: str, operator: str, macs: int | None) -> None:
        """Remember the MACs of the operator that ran last."""
        self._macs = macs or 0

    def run(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], run: Callable[[], Any]
    ) -> Any:
        """Run an operator and follow what it does in the forward pass."""
        if torch._C._current_graph_task_id() != -1:
            return run()
        read = self._tensors.outputs(_tensors((args, kwargs)))
        result = self._run(func, args, kwargs, run)
        held = self._tensors.outputs(_tensors(result))
        self._chains.reads.note(read, held)
        return result

    def _run(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], run: Callable[[], Any]
    ) -> Any:
        if func is torch.ops.higher_order.flex_attention:
            return self._run_flex(args, run)
        if not isinstance(func, torch._ops.OpOverload) or func.namespace == "prim":
            return run()
        if _is_composite(func):
            return run()
        if func.overloadpacket in BANDED:
            return self._run_banded(func, args, kwargs, run)
        if func._schema.is_mutable:
            return self._run_mutating(func, args, kwargs, run)
        result = run()
        self._follow(func, args, kwargs, result)
        return result

    def calls(self) -> AttentionCalls:
        """The attention of the run."""
        self._chains.discard_lost_rows()
        products = set[Product]()
        calls = [self._call(found, products) for found in self._found]
        found = tuple(call for call in calls if call is not None)
        return AttentionCalls(found, tuple(dict.fromkeys(self._unrecognised)))

    def _call(self, found: _Found, products: set[Product]) -> AttentionCall | None:
        """What was found, counted; None for a softmax whose weights multiply no values."""
        if isinstance(found, AttentionCall):
            return found
        if isinstance(found, FusedAttention):
            return call_of_fused(found, self._count)
        if isinstance(found, FlexAttention):
            return call_of_flex(found, self._count_in)
        return call_of_chain(found, products, self._count) if found.parts else None

    def _replay(self, derivation: Derivation, result: Tensor) -> None:
        self._follow(derivation.func, derivation.args, derivation.kwargs, result)

    def _count_in(self, weights: Expression, blocks: ListedBlocks) -> int:
        key = (weights, id(blocks.counts), id(blocks.indices))
        if key not in self._counts:
            self._counts[key] = blocks.count(weights)
        return self._counts[key]

    def _count(self, weights: Expression) -> int:
        if weights not in self._counts:
            self._counts[weights] = count_pairs(weights)
        return self._counts[weights]

    def _run_flex(self, args: tuple[Any, ...], run: Callable[[], Any]) -> Any:
        result = run()
        macs, path = self._macs, self.module_path()
        self._found.append(flex_attention_call(self._tensors, self.run, args, path, macs))
        return result

    def _run_banded(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], run: Callable[[], Any]
    ) -> Any:
        result = run()
        named = arguments_of(func, args, kwargs)
        self._found.append(banded_call(named, self._macs, self.module_path()))
        return result

    def _follow(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        packet, named = func.overloadpacket, arguments_of(func, args, kwargs)
        if packet in FUSED:
            self._found.append(FUSED[packet](self._tensors, named, self._macs, self.module_path()))
            return
        if packet in PACKED:
            self._unrecognised.append(f"{packet} in {self.module_path()}: packed sequences")
        if packet in PRODUCTS:
            self._chains.product(packet, named, result, self._macs, self.module_path())
            return
        if packet in SOFTMAXES:
            softmax = self._chains.softmax(packet, named["self"], result, self.module_path())
            if softmax is not None:
                self._found.append(softmax)
                return
        inputs = _tensors((args, kwargs))
        outputs = _tensors(result)
        if not outputs:
            return
        if inputs and self._follow_view(packet, named, inputs[0], outputs):
            return
        self._follow_copies(func, args, kwargs, outputs)

    def _follow_view(
        self, packet: Any, named: dict[str, Any], tensor: Tensor, views: list[Tensor]
    ) -> bool:
        """Follow a view; whether the operator is one."""
        steps = steps_to(packet, named, tensor, views)
        if steps is None:
            return False
        for view, steps_to_view in zip(views, steps, strict=True):
            self._tensors.pass_copies(view, tensor)
            self._tensors.add_view(view, tensor, steps_to_view)
        return True

    def _follow_copies(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: list[Tensor]
    ) -> None:
        """Follow an operator whose results are new tensors."""
        inputs = _tensors((args, kwargs))
        if is_pointwise(func) or func.overloadpacket.__name__ == "_to_copy":
            for tensor in inputs:
                if tensor.numel() == outputs[0].numel():
                    self._tensors.pass_copies(outputs[0], tensor)
        for position, result in enumerate(outputs):
            if self._is_left_to_values(inputs, result) and not makes_mask(func, args):
                continue
            expression = self._expression(func, args, kwargs, result) if position == 0 else None
            if expression is None:
                expression = lost(self._tensors, func, (args, kwargs), result)
            origin = NO_ORIGIN
            if expression.has_scores or expression.unknown:
                origin = combined_origin(
                    self._tensors, inputs, result.numel() if is_pointwise(func) else None
                )
            self._tensors.add(result, expression, origin)

    def _is_left_to_values(self, inputs: list[Tensor], result: Tensor) -> bool:
        """Whether a result need not be tracked: it is data, or a constant with few elements."""
        expressions = [self._tensors.expression(tensor) for tensor in inputs]
        if expressions and all(
            isinstance(child, Data) and not child.is_parameter for child in expressions
        ):
            return True
        value = constant_value(result)
        if value is None or not all(child.is_known for child in expressions):
            return False
        return value.numel() <= _FEW_ELEMENTS

    def _expression(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
    ) -> Expression | None:
        """The expression of a result; None if the operator is not followed."""
        named = arguments_of(func, args, kwargs)
        follow = FOLLOWED.get(func.overloadpacket)
        if result.numel() == 0:
            return self._tensors.build.fill(result.shape, result.dtype, 0)
        expression = None
        if follow is not None:
            expression = follow(self._tensors, named, result)
        elif is_pointwise(func):
            expression = pointwise(self._tensors, func, args, kwargs, result)
        else:
            expression = reduction(self._tensors, func, named, result)
        if expression is None or (expression.unknown and constant_value(result) is not None):
            value = constant_value(result)
            if value is not None and not any(
                self._tensors.expression(tensor).has_data for tensor in _tensors((args, kwargs))
            ):
                return self._tensors.build.constant(value)
        return expression

    def _run_mutating(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], run: Callable[[], Any]
    ) -> Any:
        """Run an operator that writes to a tensor, and follow what it writes."""
        inputs = _tensors((args, kwargs))
        for tensor in inputs:
            self._tensors.ensure(tensor)
        named = arguments_of(func, args, kwargs)
        if func.overloadpacket is torch.ops.aten.index_put_:
            self._chains.write_over(named["self"], named["indices"])
        plain = _out_of_place(func)
        if plain is not None and plain.is_view:  # it changes its shape, and no element
            view = plain(*args, **kwargs)
            self._follow_view(plain.overloadpacket, named, inputs[0], [view])
            self._tensors.become(inputs[0], view)
            return run()
        result = run()
        for argument in func._schema.arguments:
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            for written in _tensors(named.get(argument.name)):
                expression = self._written(func, args, kwargs, written)
                origin = NO_ORIGIN
                if expression.has_scores or expression.unknown:
                    sources = inputs[1:] if func.overloadpacket is torch.ops.aten.copy_ else inputs
                    origin = combined_origin(self._tensors, sources, written.numel())
                self._tensors.write(written, expression, origin)
        return result

    def _written(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], written: Tensor
    ) -> Expression:
        """What a tensor holds after an operator has written to it."""
        build = self._tensors.build
        named = arguments_of(func, args, kwargs)
        name = func.overloadpacket.__name__
        if name == "copy_":
            source = build.cast(self._tensors.expression(named["src"]), written.dtype)
            return build.expand(source, written.shape)
        if name == "zero_":
            return build.fill(written.shape, written.dtype, 0)
        if name == "fill_" and not isinstance(named["value"], Tensor):
            return build.fill(written.shape, written.dtype, named["value"])
        if torch.Tag.nondeterministic_seeded in func.tags:
            return build.random(written.shape, written.dtype)
        plain = _out_of_place(func)
        expression = None
        if plain is not None:
            expression = self._expression(plain, args, kwargs, written)
        if expression is None:
            expression = lost(self._tensors, func, (args, kwargs), written)
        return build.cast(expression, written.dtype)


def _is_composite(func: Any) -> bool:
    """Whether it is dispatched as a whole in inference mode only, before the operators it calls."""
    if formula_of(func.overloadpacket) is not None:
        return False
    return torch._C._dispatch_has_kernel_for_dispatch_key(
        func.name(), torch._C.DispatchKey.CompositeImplicitAutograd
    )


def _out_of_place(func: Any) -> Any:
    """The operator that returns what this one writes to its first argument; None if none does."""
    packet = getattr(torch.ops.aten, func.overloadpacket.__name__.removesuffix("_"), None)
    if func.overloadpacket is torch.ops.aten.transpose_:
        return torch.ops.aten.transpose.int
    return getattr(packet, func._overloadname, None)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
