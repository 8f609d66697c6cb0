"""Numbers beside fake tensors: what follows from constants alone is computed for real.

Some modules look at small tensors to know their shapes: transformers' Longformer asks its mask
where the global tokens are. Fake tensors have no numbers to tell. But masks, positions and indices
are made of constants by the code that runs, so their numbers can be known where the hidden states'
cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
)
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

from attnprof.core.errors import MeasurementError
from attnprof.counting.tensor_subclasses import is_made_of_plain_tensors

MAX_NUMBERS = 2**24
"""Tensors of more numbers than this stay unknown: masks of 10 million tokens fit, scores do not."""

_aten = torch.ops.aten

_BY_MASK = (_aten.index, _aten.index_put, _aten.index_put_, _aten._unsafe_index)

_WITHOUT_NUMBERS = (_aten.empty, _aten.empty_like, _aten.empty_strided, _aten.new_empty)

_DRAWN_INTEGERS = (_aten.randint, _aten.randint_like, _aten.randperm)
"""These are drawn for real: tokens and orders decide on shapes, where random floats do not."""

_FILLED: dict[Any, int] = {
    _aten.new_zeros: 0,
    _aten.new_ones: 1,
    _aten.zeros_like: 0,
    _aten.ones_like: 1,
}
"""What operators write that take of a tensor its shape or type alone."""

_SHAPES_ARE_DATA = (DataDependentOutputException, DynamicOutputShapeException)

_active: list[ConstantPropagation] = []


class ValuesNeededError(MeasurementError):
    """A count follows from numbers that are not known on fake tensors."""


def constant_value(tensor: Tensor) -> Tensor | None:
    """The numbers of a tensor, on the CPU; None where it is fake and they are not known."""
    if not isinstance(tensor, FakeTensor):
        return None if tensor.is_meta else tensor
    return _active[-1].value_of(tensor) if _active else None


class ConstantPropagation(TorchDispatchMode):
    """Follows, inside a `FakeTensorMode`, the tensors whose numbers follow from constants.

    Args:
        is_product: whether an operator multiplies matrices; these are never computed for real.
    """

    supports_higher_order_operators = True

    def __init__(self, is_product: Callable[[Any], bool]) -> None:
        super().__init__()
        self._is_product = is_product
        self._values: Any = WeakIdKeyDictionary()
        self._spoiled: set[int] = set()

    def __enter__(self) -> ConstantPropagation:
        _active.append(self)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        _active.remove(self)

    def value_of(self, tensor: Tensor) -> Tensor | None:
        """The numbers of a tensor that was made here or is real; None where they are not known."""
        value = self._values.get(tensor)
        if value is None and type(tensor) is Tensor and tensor.numel() <= MAX_NUMBERS:
            with no_dispatch():
                value = tensor.detach().cpu().clone()
            self._remember(tensor, value)
        if value is None or value.untyped_storage()._cdata in self._spoiled:
            return None
        return value

    def learn(self, tensor: Tensor, value: Tensor) -> None:
        """The numbers of a tensor that were found elsewhere."""
        self._remember(tensor, value)

    def forget(self, tensor: Tensor) -> Tensor | None:
        """Refer to a tensor no more; its numbers, if they were known."""
        return self._values.pop(tensor, None)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if is_made_of_plain_tensors(types):
            return NotImplemented
        kwargs = kwargs or {}
        if _packet(func) in _BY_MASK:
            args = self._with_numbered_indices(args)
        is_known = self._is_known(func, args, kwargs)
        try:
            result = func(*args, **kwargs)
        except _SHAPES_ARE_DATA:
            if not is_known:
                raise
            return self._from_values(func, args, kwargs)
        outputs = _tensors(result)
        fill = _FILLED.get(_packet(func))
        if fill is not None and result.numel() <= MAX_NUMBERS:
            with no_dispatch():
                value = torch.empty_strided(result.size(), result.stride(), dtype=result.dtype)
                self._remember(result, value.fill_(fill))
        elif not (
            is_known
            and all(tensor.numel() <= MAX_NUMBERS for tensor in outputs)
            and self._has_computed(outputs, func, args, kwargs)
        ):
            self._spoil(func, args, kwargs)
        return result

    def _is_known(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether its numbers follow from known ones, by an operator that is cheap and certain."""
        return (
            isinstance(func, torch._ops.OpOverload)
            and (
                torch.Tag.nondeterministic_seeded not in func.tags
                or func.overloadpacket in _DRAWN_INTEGERS
            )
            and func.overloadpacket not in _WITHOUT_NUMBERS
            and not self._is_product(func.overloadpacket)
            and all(self.value_of(tensor) is not None for tensor in _tensors((args, kwargs)))
        )

    def _has_computed(
        self, outputs: list[Tensor], func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> bool:
        """Whether the numbers of the outputs are known now."""
        try:
            values = _tensors(self._computed(func, args, kwargs))
        except RuntimeError:  # strides may differ from those of fake tensors: not known, then
            return False
        for output, value in zip(outputs, values, strict=True):
            self._remember(output, value)
        return True

    def _computed(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def on_cpu(leaf: Any) -> Any:
            if isinstance(leaf, Tensor):
                return self.value_of(leaf)
            return torch.device("cpu") if isinstance(leaf, torch.device) else leaf

        values, named = tree_map(on_cpu, (args, kwargs))
        with no_dispatch():
            return func(*values, **named)

    def _from_values(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of an operator whose shapes are data: fake tensors as its numbers say."""
        device = next(tensor.device for tensor in _tensors((args, kwargs)))
        values = self._computed(func, args, kwargs)

        def faked(value: Tensor) -> Tensor:
            fake = torch.empty(value.shape, dtype=value.dtype, device=device)
            self._remember(fake, value)
            return fake

        return tree_map_only(Tensor, faked, values)

    def _remember(self, tensor: Tensor, value: Tensor) -> None:
        self._values[tensor] = value
        # Memory that was spoiled and freed may be given out again.
        self._spoiled.discard(value.untyped_storage()._cdata)

    def _spoil(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """What is written to becomes unknown, with all views of it."""
        if not isinstance(func, torch._ops.OpOverload) or not func._schema.is_mutable:
            return
        for index, argument in enumerate(func._schema.arguments):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            written = args[index] if index < len(args) else kwargs.get(argument.name)
            for tensor in _tensors(written):
                value = self.value_of(tensor)
                if value is not None:
                    self._spoiled.add(value.untyped_storage()._cdata)

    def _with_numbered_indices(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Known masks among indices are turned into the positions that they mark."""
        target, indices, *rest = args
        numbered: list[Any] = []
        for index in indices:
            is_mask = isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)
            if is_mask and self.value_of(index) is not None:
                numbered += self._from_values(_aten.nonzero_numpy.default, (index,), {})
            else:
                numbered.append(index)
        return target, numbered, *rest


def _packet(func: Any) -> Any:
    """The operator with all its overloads; a higher-order operator has none."""
    return getattr(func, "overloadpacket", func)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
