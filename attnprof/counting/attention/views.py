"""Views as steps from a tensor to a part of it, and what writing to the part does to the tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from attnprof.counting.aten_operators import aten_operators
from attnprof.counting.attention.building import Builder
from attnprof.counting.attention.expressions import Expression


@dataclass(frozen=True, slots=True)
class Cut:
    """Elements along one axis, by index."""

    axis: int
    indices: range

    def forward(self, build: Builder, base: Expression) -> Expression:
        """The elements."""
        return build.select(base, self.axis, self.indices)

    def backward(self, build: Builder, base: Expression, part: Expression) -> Expression:
        """The tensor with these elements replaced."""
        return build.overwrite(base, part, self.axis, self.indices)


@dataclass(frozen=True, slots=True)
class Reorder:
    """Axes in another order."""

    axes: tuple[int, ...]

    def forward(self, build: Builder, base: Expression) -> Expression:
        """The tensor with axes in that order."""
        return build.permute(base, self.axes)

    def backward(self, build: Builder, base: Expression, part: Expression) -> Expression:
        """The new elements with axes in their old order."""
        return build.permute(part, sorted(range(len(self.axes)), key=self.axes.__getitem__))


@dataclass(frozen=True, slots=True)
class Shape:
    """The same elements in another shape."""

    shape: tuple[int, ...]

    def forward(self, build: Builder, base: Expression) -> Expression:
        """The tensor in that shape."""
        return build.reshape(base, self.shape)

    def backward(self, build: Builder, base: Expression, part: Expression) -> Expression:
        """The new elements in the old shape."""
        return build.reshape(part, base.shape)


@dataclass(frozen=True, slots=True)
class Repeat:
    """Axes of length 1 repeated."""

    shape: tuple[int, ...]

    def forward(self, build: Builder, base: Expression) -> Expression:
        """The tensor, repeated."""
        return build.expand(base, self.shape)

    def backward(self, build: Builder, base: Expression, part: Expression) -> Expression:
        """The new elements, if nothing was repeated."""
        if self.shape == base.shape:
            return part
        return build.lost(base, "an expanded tensor is written to")


@dataclass(frozen=True, slots=True)
class Opaque:
    """A view that is not followed, such as `as_strided`."""

    name: str
    shape: tuple[int, ...]

    def forward(self, build: Builder, base: Expression) -> Expression:
        """Elements that are known only if all are equal."""
        if base.is_uniform:
            return build.respread(base, self.shape)
        return build.lost(base, f"{self.name} of a mask or of scores is not followed", self.shape)

    def backward(self, build: Builder, base: Expression, part: Expression) -> Expression:
        """Elements that are not known."""
        return build.lost(base, f"{self.name} of a mask or of scores is written to")


Step = Cut | Reorder | Shape | Repeat | Opaque

_RESHAPES = aten_operators(
    "view _unsafe_view reshape _reshape_alias unsqueeze squeeze flatten unflatten view_as"
)
_SAME = aten_operators("alias detach lift_fresh")
_SPLITS = aten_operators("split split_with_sizes unbind chunk unsafe_split unsafe_chunk")


def steps_to(packet: Any, named: dict[str, Any], base: Tensor, views: Sequence[Tensor]) -> Any:
    """For each result of a view operator the steps to it; None if it is no view operator.

    Args:
        packet: the operator, with all its overloads.
        named: its arguments by name.
        base: the tensor that is viewed.
        views: the results.
    """
    if packet in _SPLITS:
        return _split_steps(packet, named, base, views)
    steps = _steps(packet, named, base, views[0])
    return None if steps is None else [steps]


def _steps(packet: Any, named: dict[str, Any], base: Tensor, view: Tensor) -> Any:
    name = packet.__name__
    if packet in _SAME:
        return []
    if packet in _RESHAPES:
        return [Shape(tuple(view.shape))]
    if name in ("expand", "broadcast_to"):
        return [Repeat(tuple(view.shape))]
    if name == "permute":
        return [Reorder(tuple(axis % base.dim() for axis in named["dims"]))]
    if name in ("transpose", "t"):
        return [_swap(base, *((0, 1) if name == "t" else (named["dim0"], named["dim1"])))]
    if name == "slice":
        axis = named["dim"] % base.dim()
        return [Cut(axis, _indices(named, base.shape[axis]))]
    if name == "select":
        axis = named["dim"] % base.dim()
        index = named["index"] % base.shape[axis]
        return [Cut(axis, range(index, index + 1)), Shape(tuple(view.shape))]
    if name in ("as_strided", "diagonal", "unfold"):
        return [Opaque(f"aten.{name}", tuple(view.shape))]
    return None


def _swap(base: Tensor, first: int, second: int) -> Reorder:
    axes = list(range(base.dim()))
    if axes:
        axes[first], axes[second] = axes[second], axes[first]
    return Reorder(tuple(axes))


def _indices(named: dict[str, Any], size: int) -> range:
    return range(size)[slice(named["start"], named["end"], named["step"])]


def _split_steps(packet: Any, named: dict[str, Any], base: Tensor, views: Sequence[Tensor]) -> Any:
    axis = named["dim"] % base.dim()
    steps, first = list[Any](), 0
    for view in views:
        if packet.__name__ == "unbind":
            steps.append([Cut(axis, range(first, first + 1)), Shape(tuple(view.shape))])
            first += 1
        else:
            last = first + view.shape[axis]
            steps.append([Cut(axis, range(first, last))])
            first = last
    return steps
