"""Descriptions of inputs: `hidden_states=batch,len,hidden`, `ids=batch,len:int64<99`.

A size is a number or a size of the workload, multiplied or divided by a number: `len*2`,
`hidden/4`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from attnprof.core.errors import MeasurementError, UsageError, suggest
from attnprof.core.option_values import parse_whole_number
from attnprof.core.workload import Workload

if TYPE_CHECKING:
    import torch

_SIZES: dict[str, Callable[[Workload], int]] = {
    "batch": lambda workload: workload.batch_size,
    "len": lambda workload: workload.seq_len,
    "hidden": lambda workload: workload.hidden_size,
    "heads": lambda workload: workload.num_heads,
    "head_dim": lambda workload: workload.head_dim,
}
_INTEGERS = ("int64", "int32")
_FLOATS = ("float32", "float64", "bfloat16", "float16")
_FORM = "describe an input as NAME=DIMS, such as x=batch,len,hidden or ids=batch,len:int64<30522"

_RANGE = "the upper bound must be a positive whole number, such as <30522"
_INPUT = re.compile(r"(?P<name>[^\W\d]\w*)=(?P<dims>[^:<]*)(?::(?P<dtype>\w+))?(?:<(?P<high>.*))?")
_DIM = re.compile(r"(?P<size>\w+)(?:(?P<sign>[*/])(?P<by>\d+))?")


@dataclass(frozen=True, slots=True)
class Dimension:
    """One size of a tensor.

    Attributes:
        text: as written.
        size: a number, or the name of a size of the workload.
        sign: whether it is multiplied or divided.
        by: the number that it is multiplied or divided by.
    """

    text: str
    size: int | str
    sign: Literal["*", "/"]
    by: int

    def at(self, workload: Workload) -> int:
        """The size in this workload.

        Raises:
            MeasurementError: when the division leaves a remainder.
        """
        refusal = self.refusal(workload)
        if refusal:
            raise MeasurementError(refusal)
        size = self._undivided(workload)
        return size * self.by if self.sign == "*" else size // self.by

    def refusal(self, workload: Workload) -> str:
        """Why the size is not a whole number in this workload; empty where it is one."""
        size = self._undivided(workload)
        if self.sign == "*" or size % self.by == 0:
            return ""
        return f"{self.text} is not a whole number where {self.size} is {size:,}"

    def _undivided(self, workload: Workload) -> int:
        return _SIZES[self.size](workload) if isinstance(self.size, str) else self.size


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The description of one input.

    Attributes:
        name: the argument of `forward`.
        dimensions: its shape.
        dtype: its type; empty for that of the workload.
        high: exclusive upper bound of integers; None where it was not described.
        avoided: an integer that is never drawn, such as the padding token; None if there is none.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    dtype: str = ""
    high: int | None = None
    avoided: int | None = None

    @property
    def text(self) -> str:
        """Its name and shape, as written."""
        return f"{self.name}={','.join(dimension.text for dimension in self.dimensions)}"

    def tensor(self, workload: Workload, default_high: int = 2) -> torch.Tensor:
        """Random numbers from torch's current generator, of the described shape and type.

        Floating point tensors require gradients in training; booleans are all true.

        Args:
            workload: its sizes, type and mode.
            default_high: exclusive upper bound of integers where none was described.

        Raises:
            MeasurementError: when a size is not a whole number in this workload.
        """
        import torch

        shape = [dimension.at(workload) for dimension in self.dimensions]
        if self.dtype == "bool":
            return torch.ones(shape, dtype=torch.bool)
        dtype = cast("torch.dtype", getattr(torch, self.dtype or workload.dtype))
        if self.dtype in _INTEGERS:
            return self._integers(shape, dtype, default_high if self.high is None else self.high)
        values = torch.randn(shape, dtype=dtype)
        return values.requires_grad_(workload.mode == "training")

    def _integers(self, shape: list[int], dtype: torch.dtype, high: int) -> torch.Tensor:
        import torch

        if self.avoided is None or not 0 <= self.avoided < high or high == 1:
            return torch.randint(0, high, shape, dtype=dtype)
        values = torch.randint(0, high - 1, shape, dtype=dtype)
        return values + (values >= self.avoided)


def parse_input(text: str, argument: str) -> InputSpec:
    """Parse the description of one input.

    Args:
        text: such as `hidden_states=batch,len,hidden`.
        argument: the option that it comes from, for errors.

    Raises:
        UsageError: when it is not a description.
    """
    match = _INPUT.fullmatch(text.replace(" ", ""))
    if not match:
        raise UsageError(argument, text or "(empty)", _FORM)
    dtype, high = match["dtype"] or "", match["high"]
    known = (*_INTEGERS, *_FLOATS, "bool")
    if dtype and dtype not in known:
        raise UsageError(argument, text, f"unknown type {dtype}; {suggest(dtype, known)}")
    if high is None:
        return InputSpec(match["name"], _dimensions(match["dims"], text, argument), dtype)
    limit = parse_whole_number(high, argument, text, _RANGE)
    if limit < 1:
        raise UsageError(argument, text, _RANGE)
    if dtype and dtype not in _INTEGERS:
        raise UsageError(argument, text, f"only integer types have an upper bound, not {dtype}")
    dimensions = _dimensions(match["dims"], text, argument)
    return InputSpec(match["name"], dimensions, dtype or "int64", limit)


def _dimensions(dims: str, text: str, argument: str) -> tuple[Dimension, ...]:
    """The shape in a description.

    Args:
        dims: sizes separated by commas.
        text: the description, for errors.
        argument: the option that it comes from, for errors.

    Raises:
        UsageError: when one of them is not a size.
    """
    dimensions: list[Dimension] = []
    for word in dims.split(","):
        match = _DIM.fullmatch(word)
        if not match:
            raise UsageError(argument, text, f"{word or '(empty)'} is not a size; {_FORM}")
        size, not_a_size = match["size"], f"{word} is not a size; {_FORM}"
        by = parse_whole_number(match["by"] or "1", argument, text, not_a_size)
        if by == 0:
            raise UsageError(argument, text, not_a_size)
        sign: Literal["*", "/"] = "/" if match["sign"] == "/" else "*"
        if size in _SIZES:
            dimensions.append(Dimension(word, size, sign, by))
            continue
        unknown = f"{size} is not a size; {suggest(size, _SIZES)}, or a number"
        number = parse_whole_number(size, argument, text, unknown)
        if number == 0:
            raise UsageError(argument, text, "a size must be 1 or more")
        dimensions.append(Dimension(word, number, sign, by))
    return tuple(dimensions)


def ids(
    name: str, high: int | None = None, avoided: int | None = None, *, is_batch_first: bool = True
) -> InputSpec:
    """The description of token ids `(batch, len)`, or `(len, batch)`."""
    spec = parse_input(f"{name}={_sizes(is_batch_first)}:int64", "input")
    return InputSpec(name, spec.dimensions, spec.dtype, high, avoided)


def states(name: str, *, is_batch_first: bool = True) -> InputSpec:
    """The description of hidden states `(batch, len, hidden)`, or `(len, batch, hidden)`."""
    return parse_input(f"{name}={_sizes(is_batch_first)},hidden", "input")


def _sizes(is_batch_first: bool) -> str:
    return "batch,len" if is_batch_first else "len,batch"
