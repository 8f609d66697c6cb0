"""Inputs of a call, described in words: `hidden_states=batch,len,hidden`, `ids=batch,len:int64<99`.

A size is a number or one of the workload's, times or by a number: `len*2`, `hidden/4`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from attnprof.core.errors import MeasurementError, UsageError, suggest
from attnprof.core.units import parse_whole_number
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

_RANGE = "the numbers are below a positive whole number, as <30522"
_INPUT = re.compile(r"(?P<name>[^\W\d]\w*)=(?P<dims>[^:<]*)(?::(?P<dtype>\w+))?(?:<(?P<high>.*))?")
_DIM = re.compile(r"(?P<size>\w+)(?:(?P<sign>[*/])(?P<by>\d+))?")


@dataclass(frozen=True, slots=True)
class Dimension:
    """One size of a tensor: a number, or the workload's, times or by a number."""

    text: str
    size: int | str
    sign: Literal["*", "/"]
    by: int

    def at(self, workload: Workload) -> int:
        """The size in this workload.

        Raises:
            MeasurementError: where the division leaves a rest.
        """
        refusal = self.refusal(workload)
        if refusal:
            raise MeasurementError(refusal)
        whole = self._whole(workload)
        return whole * self.by if self.sign == "*" else whole // self.by

    def refusal(self, workload: Workload) -> str:
        """Why there is no such size in this workload; empty where there is."""
        whole = self._whole(workload)
        if self.sign == "*" or whole % self.by == 0:
            return ""
        return f"{self.text} is no whole number where {self.size} is {whole:,}"

    def _whole(self, workload: Workload) -> int:
        return _SIZES[self.size](workload) if isinstance(self.size, str) else self.size


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What one input is.

    Attributes:
        name: the argument of `forward`.
        dimensions: its shape.
        dtype: its type; empty for the workload's.
        high: integers are below this; None where nothing was said.
        avoided: an integer that is left out, such as a padding token's; None where there is none.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    dtype: str = ""
    high: int | None = None
    avoided: int | None = None

    @property
    def text(self) -> str:
        """Its name and shape, as they are written."""
        return f"{self.name}={','.join(dimension.text for dimension in self.dimensions)}"

    def tensor(self, workload: Workload, default_high: int = 2) -> torch.Tensor:
        """Random numbers from the generator as it stands; floats ask for gradients in training."""
        import torch

        shape = [dimension.at(workload) for dimension in self.dimensions]
        if self.dtype == "bool":
            return torch.ones(shape, dtype=torch.bool)
        dtype = cast("torch.dtype", getattr(torch, self.dtype or workload.dtype))
        if self.dtype in _INTEGERS:
            return self._integers(shape, dtype, default_high if self.high is None else self.high)
        numbers = torch.randn(shape, dtype=dtype)
        return numbers.requires_grad_(workload.mode == "training")

    def _integers(self, shape: list[int], dtype: torch.dtype, high: int) -> torch.Tensor:
        import torch

        if self.avoided is None or not 0 <= self.avoided < high or high == 1:
            return torch.randint(0, high, shape, dtype=dtype)
        numbers = torch.randint(0, high - 1, shape, dtype=dtype)
        return numbers + (numbers >= self.avoided)


def parse_input(text: str, argument: str) -> InputSpec:
    """One input from its description.

    Args:
        text: as `hidden_states=batch,len,hidden`.
        argument: the option that it was given with, which errors name.

    Raises:
        UsageError: for anything else.
    """
    match = _INPUT.fullmatch(text.replace(" ", ""))
    if not match:
        raise UsageError(argument, text or "(nothing)", _FORM)
    dtype, high = match["dtype"] or "", match["high"]
    known = (*_INTEGERS, *_FLOATS, "bool")
    if dtype and dtype not in known:
        raise UsageError(argument, text, f"there is no type {dtype}; {suggest(dtype, known)}")
    if high is None:
        return InputSpec(match["name"], _dimensions(match["dims"], text, argument), dtype)
    limit = parse_whole_number(high, argument, text, _RANGE)
    if limit < 1:
        raise UsageError(argument, text, _RANGE)
    if dtype and dtype not in _INTEGERS:
        raise UsageError(argument, text, f"only integers have a range, {dtype} has none")
    dimensions = _dimensions(match["dims"], text, argument)
    return InputSpec(match["name"], dimensions, dtype or "int64", limit)


def _dimensions(dims: str, text: str, argument: str) -> tuple[Dimension, ...]:
    dimensions: list[Dimension] = []
    for word in dims.split(","):
        match = _DIM.fullmatch(word)
        if not match:
            raise UsageError(argument, text, f"{word or '(nothing)'} is no size; {_FORM}")
        size, forms = match["size"], f"{word} is no size; {_FORM}"
        by = parse_whole_number(match["by"] or "1", argument, text, forms)
        if by == 0:
            raise UsageError(argument, text, forms)
        sign: Literal["*", "/"] = "/" if match["sign"] == "/" else "*"
        if size in _SIZES:
            dimensions.append(Dimension(word, size, sign, by))
            continue
        words = f"{size} is no size; {suggest(size, _SIZES)}, or a number"
        number = parse_whole_number(size, argument, text, words)
        if number == 0:
            raise UsageError(argument, text, "a size is 1 or more")
        dimensions.append(Dimension(word, number, sign, by))
    return tuple(dimensions)


def ids(
    name: str, high: int | None = None, avoided: int | None = None, *, is_batch_first: bool = True
) -> InputSpec:
    """Tokens `(batch, len)`, or `(len, batch)`."""
    spec = parse_input(f"{name}={_sizes(is_batch_first)}:int64", "input")
    return InputSpec(name, spec.dimensions, spec.dtype, high, avoided)


def states(name: str, *, is_batch_first: bool = True) -> InputSpec:
    """Floats `(batch, len, hidden)`, or `(len, batch, hidden)`."""
    return parse_input(f"{name}={_sizes(is_batch_first)},hidden", "input")


def _sizes(is_batch_first: bool) -> str:
    return "batch,len" if is_batch_first else "len,batch"
