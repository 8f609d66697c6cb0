"""Known values of fake tensors: operators on constants are also run on real tensors.

Some modules read small tensors to decide on shapes: transformers' Longformer, for example, reads
from its mask where the global tokens are. Fake tensors have shapes without values. But masks,
positions and indices are usually made from constants by the code that runs, so their values can be
known where those of hidden states cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from attnprof.counting.derivations import (
    Derivation,
    KnownTensors,
    is_like_pointwise,
    value_of_part,
    versions_of,
)
from attnprof.counting.tensor_subclasses import is_made_of_plain_tensors

MAX_ELEMENTS = 2**24
"""Larger tensors stay unknown, unless their values repeat along a dimension: masks of 10 million
tokens are small enough, scores are not."""

_aten = torch.ops.aten

_INDEXED_BY_MASKS = (_aten.index, _aten.index_put, _aten.index_put_, _aten._unsafe_index)

_UNINITIALISED = (_aten.empty, _aten.empty_like, _aten.empty_strided, _aten.new_empty)

_RANDOM_INTEGERS = (_aten.randint, _aten.randint_like, _aten.randperm)
"""Computed although random: shapes may depend on tokens and orders, not on random floats."""

_FILL_VALUES: dict[Any, int] = {
    _aten.new_zeros: 0,
    _aten.new_ones: 1,
    _aten.zeros_like: 0,
    _aten.ones_like: 1,
}
"""The values of results that depend only on a tensor's shape or type, not on its values."""

_DATA_DEPENDENT_SHAPES = (DataDependentOutputException, DynamicOutputShapeException)

_active: list[ConstantPropagation] = []


class ValuesNeededError(MeasurementError):
    """A count depends on values of a fake tensor that are not known."""


def constant_value(tensor: Tensor) -> Tensor | None:
    """The values of a tensor, on the CPU if it is fake; None if they are not known."""
    if not isinstance(tensor, FakeTensor):
        return None if tensor.is_meta else tensor
    return _active[-1].value_of(tensor) if _active else None


def derivation_of(tensor: Tensor) -> Derivation | None:
    """How a large tensor followed from known ones; None if it did not."""
    return _active[-1].derivation_of(tensor) if _active else None


class ConstantPropagation(TorchDispatchMode):
    """Tracks, inside a `FakeTensorMode`, the values of tensors that follow from constants.

    Args:
        is_product: whether an operator multiplies matrices; the values of such operators are
            never computed.
    """

    supports_higher_order_operators = True

    def __init__(self, is_product: Callable[[Any], bool]) -> None:
        super().__init__()
        self._is_product = is_product
        self._values: Any = WeakIdKeyDictionary()
        self._derivations: Any = WeakIdKeyDictionary()
        self._invalid_storages: set[int] = set()
        # The storage of a large tensor, kept so that its address stays its own, and the storages of
        # the values of its parts.
        self._parts: dict[int, tuple[Any, set[int]]] = {}

    def __enter__(self) -> ConstantPropagation:
        _active.append(self)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        _active.remove(self)

    def value_of(self, tensor: Tensor) -> Tensor | None:
        """The values of a real tensor, or of a fake one made here; None if they are not known."""
        value = self._values.get(tensor)
        if value is None and type(tensor) is Tensor and tensor.numel() <= MAX_ELEMENTS:
            with no_dispatch():
                value = tensor.detach().cpu().clone()
            self.learn(tensor, value)
        if value is None or value.untyped_storage()._cdata in self._invalid_storages:
            return None
        return value

    def learn(self, tensor: Tensor, value: Tensor) -> None:
        """Store the values of a tensor."""
        self._values[tensor] = value
        # An invalid storage that was freed may be allocated again at the same address.
        self._invalid_storages.discard(value.untyped_storage()._cdata)

    def forget(self, tensor: Tensor) -> Tensor | None:
        """Drop the reference to a tensor; returns its values if they were known."""
        return self._values.pop(tensor, None)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if is_made_of_plain_tensors(types):
            return NotImplemented
        kwargs = kwargs or {}
        if _packet(func) in _INDEXED_BY_MASKS:
            args = self._masks_to_indices(args)
        is_known = self._can_compute(func, args, kwargs)
        try:
            result = func(*args, **kwargs)
        except _DATA_DEPENDENT_SHAPES:
            if not is_known or any(t.numel() > MAX_ELEMENTS for t in _tensors((args, kwargs))):
                raise
            return self._fake_from_values(func, args, kwargs)
        if self._learn_fill(func, result):
            return result
        self._forget_parts(func, args, kwargs)
        if not (is_known and self._learn_results(result, func, args, kwargs)):
            self._invalidate(func, args, kwargs)
            self._learn_part(result, func, args, kwargs)
            self._note_derivation(result, func, args, kwargs)
        return result

    def _learn_fill(self, func: Any, result: Any) -> bool:
        """Store the values of zeros and ones; whether this was such an operator."""
        fill = _FILL_VALUES.get(_packet(func))
        if fill is None or result.numel() > MAX_ELEMENTS:
            return False
        with no_dispatch():
            value = torch.empty_strided(result.size(), result.stride(), dtype=result.dtype)
            self.learn(result, value.fill_(fill))
        return True

    def _can_compute(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether the inputs are known and the operator is cheap and deterministic."""
        return self._is_computable(func) and all(
            self.value_of(tensor) is not None for tensor in _tensors((args, kwargs))
        )

    def _is_computable(self, func: Any) -> bool:
        """Whether an operator is cheap and deterministic."""
        return (
            isinstance(func, torch._ops.OpOverload)
            and (
                torch.Tag.nondeterministic_seeded not in func.tags
                or func.overloadpacket in _RANDOM_INTEGERS
            )
            and func.overloadpacket not in _UNINITIALISED
            and not self._is_product(func.overloadpacket)
        )

    def _learn_results(
        self, result: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> bool:
        """Compute and store the values of an operator's results; whether that was possible."""
        outputs = _tensors(result)
        is_large = any(
            tensor.numel() > MAX_ELEMENTS for tensor in (*outputs, *_tensors((args, kwargs)))
        )
        try:
            if is_large and not func.is_view:
                values = self._compute_repeated(func, args, kwargs, outputs)
            else:
                values = _tensors(self._compute(func, args, kwargs))
        except RuntimeError:  # strides may differ from those of fake tensors
            return False
        for output, value in zip(outputs, values, strict=True):
            self.learn(output, value)
        return True

    def _note_derivation(
        self, result: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Remember how a large tensor follows from known ones, or from others like it."""
        if not isinstance(result, Tensor) or result.numel() <= MAX_ELEMENTS:
            return
        if not self._is_computable(func) or func._schema.is_mutable:
            return
        inputs = _tensors((args, kwargs))
        if all(t in self._derivations or self.value_of(t) is not None for t in inputs):
            versions = versions_of(result, args, kwargs)
            if versions is not None:
                self._derivations[result] = Derivation(func, args, kwargs, versions)

    def derivation_of(self, tensor: Tensor) -> Derivation | None:
        """How a large tensor followed from known ones; None if it did not."""
        return self._derivations.get(tensor)

    def _compute(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator on real tensors on the CPU: the known values of its inputs."""

        def on_cpu(leaf: Any) -> Any:
            if isinstance(leaf, Tensor):
                return self.value_of(leaf)
            return torch.device("cpu") if isinstance(leaf, torch.device) else leaf

        values, named = tree_map(on_cpu, (args, kwargs))
        with no_dispatch():
            return func(*values, **named)

    def _compute_repeated(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: list[Tensor]
    ) -> list[Tensor]:
        """The values of a pointwise operator, computed once along dimensions where all repeat.

        Raises:
            RuntimeError: for another operator, or if the values that differ are too many.
        """
        inputs = _tensors((args, kwargs))
        is_simple = is_like_pointwise(func) and not func._schema.is_mutable
        if not (inputs and is_simple and len(outputs) == 1):
            raise RuntimeError("its values are too many")
        shape = outputs[0].shape
        with no_dispatch():
            known = [self.value_of(tensor) for tensor in inputs]
            strides = [value.expand(shape).stride() for value in known if value is not None]
        firsts = [slice(0, 1 if not any(steps) else None) for steps in zip(*strides, strict=True)]

        def first_of(leaf: Any) -> Any:
            if isinstance(leaf, Tensor):
                value = self.value_of(leaf)
                return None if value is None else value.expand(shape)[tuple(firsts)]
            return torch.device("cpu") if isinstance(leaf, torch.device) else leaf

        with no_dispatch():
            values, named = tree_map(first_of, (args, kwargs))
            if any(value.numel() > MAX_ELEMENTS for value in _tensors((values, named))):
                raise RuntimeError("its values are too many")
            return [func(*values, **named).expand(shape)]

    def _fake_from_values(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The fake result of an operator whose output shape depends on data that is known."""
        device = next(tensor.device for tensor in _tensors((args, kwargs)))
        values = self._compute(func, args, kwargs)

        def to_fake(value: Tensor) -> Tensor:
            fake = torch.empty(value.shape, dtype=value.dtype, device=device)
            self.learn(fake, value)
            return fake

        return tree_map_only(Tensor, to_fake, values)

    def _invalidate(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Tensors that the operator writes to become unknown, together with all their views."""
        for tensor in _written(func, args, kwargs):
            value = self.value_of(tensor)
            if value is not None:
                self._invalid_storages.add(value.untyped_storage()._cdata)

    def _learn_part(
        self, result: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Compute and store the values of a small view of a large tensor that is derived."""
        if not isinstance(func, torch._ops.OpOverload) or not func.is_view:
            return
        if not isinstance(result, Tensor) or result.numel() > MAX_ELEMENTS:
            return
        with no_dispatch():
            known = KnownTensors(self.value_of, self.derivation_of)
            value = value_of_part(func, args, kwargs, known)
        if value is not None:
            self.learn(result, value)
            storage = result.untyped_storage()
            parts = self._parts.setdefault(storage._cdata, (storage, set()))[1]
            parts.add(value.untyped_storage()._cdata)

    def _forget_parts(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Parts of a large tensor have values apart: a write to one leaves the others unknown."""
        for tensor in _written(func, args, kwargs):
            _, parts = self._parts.get(tensor.untyped_storage()._cdata, (None, set[int]()))
            value = self._values.get(tensor)
            written = None if value is None else value.untyped_storage()._cdata
            self._invalid_storages |= parts - {written}

    def _masks_to_indices(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of an indexing operator with known masks replaced by their positions."""
        target, indices, *rest = args
        positions: list[Any] = []
        for index in indices:
            is_mask = isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)
            if is_mask and self.value_of(index) is not None and index.numel() <= MAX_ELEMENTS:
                positions += self._fake_from_values(_aten.nonzero_numpy.default, (index,), {})
            else:
                positions.append(index)
        return target, positions, *rest


def _packet(func: Any) -> Any:
    """The operator with all its overloads; a higher-order operator has none and is returned."""
    return getattr(func, "overloadpacket", func)


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """The tensors that an operator writes to."""
    if not isinstance(func, torch._ops.OpOverload) or not func._schema.is_mutable:
        return
    for index, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            yield from _tensors(args[index] if index < len(args) else kwargs.get(argument.name))


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
