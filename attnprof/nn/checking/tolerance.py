"""Whether numbers agree with their definition, as far as their dtype can tell.

How far right numbers may be off is computed, not guessed. The definition is evaluated twice in
float64: exactly, and with every intermediate result rounded to the dtype. The difference of the
two, e, is what rounding does to these very numbers, whether the errors of single keys cancel or add
up. For a vector of one query and head the tolerance is

    4 (1 + (20 + sqrt(m)) a / u) (e + u sqrt(|o|^2 + sum of p^2 |v|^2))

with u the unit roundoff of the dtype, and a that of the sums, which kernels accumulate in float32
or, in float64, in float64. sqrt(m) is how rounding errors of a sum of m numbers add up (Higham and
Mary, SIAM J. Sci. Comput. 41, 2019), m the most that a kernel adds: the keys, or the width of a
projection. 20 units in the last place are what torch's fused kernels allow their exponential
(`exp_u20`). The second summand keeps a lucky e from being taken for accuracy: output o, weights p
and values v are rounded once at least. 4 is for the order of operations, of which e has only one.
Vectors of gradients have twice that tolerance, as they have twice as many roundings; the sum under
the root is then that of the squared norms of all that adds up to them.

So a fault of one key in a window of 512 is seen in bfloat16 and upwards of that in float16; in
float32 and float64, in any window. In half precision a single key of a much wider window is less
than rounding, and not seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attnprof.nn.checking.definition import Attended, Rounding

_ORDER = 4.0
_EXPONENTIAL = 20.0
_BACKWARD = 2.0


@dataclass(frozen=True, slots=True)
class Precision:
    """What a kernel of a dtype can be held to.

    Attributes:
        dtype: of its tensors.
        summands: the most numbers that it adds up.
        absolute: the largest difference of a number, in place of what rounding explains; None for
            that.
    """

    dtype: torch.dtype
    summands: int
    absolute: float | None = None

    @property
    def unit(self) -> float:
        """Unit roundoff of the dtype."""
        return torch.finfo(self.dtype).eps / 2

    @property
    def roundings(self) -> tuple[Rounding, Rounding]:
        """Of the exact definition, and of the one that is rounded, float64's as in float32."""
        return Rounding(), Rounding(self._simulated)

    @property
    def _simulated(self) -> torch.dtype:
        return torch.float32 if self.dtype == torch.float64 else self.dtype

    @property
    def _factor(self) -> float:
        accumulated = torch.float64 if self.dtype == torch.float64 else torch.float32
        share = torch.finfo(accumulated).eps / 2 / self.unit
        return _ORDER * (1 + (_EXPONENTIAL + math.sqrt(self.summands)) * share)

    def of_output(self, exact: Attended, rounded: Attended) -> Tensor:
        """How far an output may be off: the norm of the difference, `(heads, rows)`."""
        least = (exact.output.square().sum(-1) + exact.spread.square()).sqrt()
        return self._factor * (self._error(exact.output, rounded.output) + self.unit * least)

    def of_gradient(self, exact: Tensor, rounded: Tensor, spread: Tensor) -> Tensor:
        """How far vectors of a gradient may be off, from `(..., numbers)` and `(...)`."""
        least = (exact.square().sum(-1) + spread).sqrt()
        return _BACKWARD * self._factor * (self._error(exact, rounded) + self.unit * least)

    def _error(self, exact: Tensor, rounded: Tensor) -> Tensor:
        simulated_unit = torch.finfo(self._simulated).eps / 2
        return (rounded - exact).norm(dim=-1) * (self.unit / simulated_unit)


@dataclass(frozen=True, slots=True)
class Difference:
    """Numbers that are not as defined, at their worst.

    Attributes:
        index: of the number, in what was compared.
        got: the number.
        expected: what it should be.
        vectors: how many vectors of one query and head are off.
        compared: out of how many.
        allowed: the largest difference that would have passed.
        is_norm: whether that is of the norm of the vector, not of one number.
    """

    index: tuple[int, ...]
    got: float
    expected: float
    vectors: int
    compared: int
    allowed: float
    is_norm: bool

    def described(self, place: str, dtype: torch.dtype) -> str:
        """One line, for example: `0.31 at position 5, head 2 where 0.29 is right, …`."""
        name = str(dtype).removeprefix("torch.")
        off = abs(self.got - self.expected)
        unit = "in the norm of a head" if self.is_norm else "for a number"
        by = f"off by {off:.2g}" if math.isfinite(off) else "not finite"
        return (
            f"{self.got:.6g} at {place} where {self.expected:.6g} is right: {by}, {name} allows "
            f"{self.allowed:.2g} {unit}; {self.vectors:,} of {self.compared:,} vectors are wrong"
        )


def difference(
    got: Tensor, expected: Tensor, tolerance: Tensor, absolute: float | None = None
) -> Difference | None:
    """The worst of what is off by more than its tolerance; None where nothing is.

    Args:
        got: numbers, `(..., width)`.
        expected: what they should be, of the same shape.
        tolerance: of the norms over `width`.
        absolute: of each number, in place of `tolerance`.
    """
    off = (got.double() - expected).abs()
    off = torch.where(off.isnan(), torch.inf, off)
    excess = off.norm(dim=-1) / tolerance if absolute is None else off.amax(-1) / absolute
    excess = torch.where(excess.isnan(), 0.0, excess)  # 0 of 0 that are allowed
    wrong = int((excess > 1).sum())
    if not wrong:
        return None
    vector = _unravelled(int(excess.argmax()), excess.shape)
    index = (*vector, int(off[vector].argmax()))
    return Difference(
        index=index,
        got=float(got[index]),
        expected=float(expected[index]),
        vectors=wrong,
        compared=excess.numel(),
        allowed=float(tolerance[vector]) if absolute is None else absolute,
        is_norm=absolute is None,
    )


def _unravelled(number: int, shape: Sequence[int]) -> tuple[int, ...]:
    index: list[int] = []
    for size in reversed(shape):
        number, rest = divmod(number, size)
        index.append(rest)
    return tuple(reversed(index))
