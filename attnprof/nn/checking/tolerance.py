"""Whether values agree with their definition, within the rounding errors of their dtype.

The tolerance is derived. The definition is evaluated twice in float64: exactly, and with every
intermediate result rounded to the dtype. The norm of the difference, e, is the effect of rounding
on these particular values, whether the errors of single keys cancel or add up. For a vector of one
query and head the tolerance is

    4 (1 + (20 + sqrt(m)) a / u) (e + u sqrt(|o|^2 + sum of p^2 |v|^2))

where u is the unit roundoff of the dtype, and a that of the accumulator, which is float32, or
float64 for float64. sqrt(m) is how rounding errors of a sum of m summands grow (Higham and Mary,
SIAM J. Sci. Comput. 41, 2019); m is the largest number that a kernel adds: the keys, or the width
of a projection. 20 units in the last place is the accuracy of the exponential in torch's fused
kernels (`exp_u20`). The second summand is a lower bound, in case e happens to be small: output o,
weights p and values v are each rounded at least once. The factor 4 allows for other orders of the
operations, of which e has only one. Vectors of gradients have twice that tolerance, since they have
twice as many roundings; the sum under the root is then that of the squared norms of all summands.

With this tolerance, one wrong key in a window of 512 is found in bfloat16, and in wider windows in
float16; in float32 and float64, in any window. In half precision one wrong key of a much wider
window is less than the rounding error, and is not found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attnprof.nn.checking.definition import Attended, Rounding

_ORDER_FACTOR = 4.0
_EXPONENTIAL_ULPS = 20.0
_BACKWARD_FACTOR = 2.0


@dataclass(frozen=True, slots=True)
class Precision:
    """The precision required of a kernel.

    Attributes:
        dtype: of its tensors.
        summands: m, the largest number of summands that it adds.
        absolute: the largest permitted absolute difference of an element, in place of the derived
            tolerance; None for the derived one.
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
        """The roundings of the exact and of the rounded evaluation; float32 for float64."""
        return Rounding(), Rounding(self._simulated)

    @property
    def _simulated(self) -> torch.dtype:
        return torch.float32 if self.dtype == torch.float64 else self.dtype

    @property
    def _factor(self) -> float:
        accumulated = torch.float64 if self.dtype == torch.float64 else torch.float32
        share = torch.finfo(accumulated).eps / 2 / self.unit
        return _ORDER_FACTOR * (1 + (_EXPONENTIAL_ULPS + math.sqrt(self.summands)) * share)

    def of_output(self, exact: Attended, rounded: Attended) -> Tensor:
        """The tolerance of the norm of an output's error, `(heads, rows)`."""
        magnitude = (exact.output.square().sum(-1) + exact.spread.square()).sqrt()
        return self._factor * (self._error(exact.output, rounded.output) + self.unit * magnitude)

    def of_gradient(self, exact: Tensor, rounded: Tensor, spread: Tensor) -> Tensor:
        """The tolerance of the norm of a gradient's error, `(...)`.

        Args:
            exact: the gradient, `(..., width)`.
            rounded: the gradient with rounded intermediate results, of the same shape.
            spread: sum of the squared norms of its summands, `(...)`.
        """
        magnitude = (exact.square().sum(-1) + spread).sqrt()
        error = self._error(exact, rounded) + self.unit * magnitude
        return _BACKWARD_FACTOR * self._factor * error

    def _error(self, exact: Tensor, rounded: Tensor) -> Tensor:
        """The norm of the rounding error, e, scaled to the dtype's unit roundoff."""
        simulated_unit = torch.finfo(self._simulated).eps / 2
        return (rounded - exact).norm(dim=-1) * (self.unit / simulated_unit)


@dataclass(frozen=True, slots=True)
class Difference:
    """The element with the largest error, and how many vectors are wrong.

    Attributes:
        index: index of the element in the compared tensor.
        got: the actual value.
        expected: the expected value.
        vectors: the number of vectors, of one query and head each, that are wrong.
        compared: the number of vectors compared.
        allowed: the tolerance.
        is_norm: whether the tolerance is for the norm of a vector, and not for one element.
    """

    index: tuple[int, ...]
    got: float
    expected: float
    vectors: int
    compared: int
    allowed: float
    is_norm: bool

    def described(self, position: str, dtype: torch.dtype) -> str:
        """One line, for example: `0.31 at position 5, head 2 where 0.29 is expected: …`.

        Args:
            position: of the element, as text.
            dtype: of the kernel.
        """
        name = str(dtype).removeprefix("torch.")
        error = abs(self.got - self.expected)
        unit = "in the norm of a head" if self.is_norm else "per element"
        off_by = f"off by {error:.2g}" if math.isfinite(error) else "not finite"
        return (
            f"{self.got:.6g} at {position} where {self.expected:.6g} is expected: {off_by}, {name} "
            f"allows {self.allowed:.2g} {unit}; {self.vectors:,} of {self.compared:,} vectors are "
            "wrong"
        )


def difference(
    actual: Tensor, expected: Tensor, tolerance: Tensor, absolute: float | None = None
) -> Difference | None:
    """The largest error relative to its tolerance; None if no error exceeds its tolerance.

    Args:
        actual: the values, `(..., width)`.
        expected: the expected values, of the same shape.
        tolerance: the largest norm of a vector's error, `(...)`.
        absolute: the largest absolute error of an element, in place of `tolerance`.
    """
    error = (actual.double() - expected).abs()
    error = torch.where(error.isnan(), torch.inf, error)
    excess = error.norm(dim=-1) / tolerance if absolute is None else error.amax(-1) / absolute
    excess = torch.where(excess.isnan(), 0.0, excess)  # 0 / 0: no error, no tolerance
    wrong = int((excess > 1).sum())
    if not wrong:
        return None
    vector = _unravel_index(int(excess.argmax()), excess.shape)
    index = (*vector, int(error[vector].argmax()))
    return Difference(
        index=index,
        got=float(actual[index]),
        expected=float(expected[index]),
        vectors=wrong,
        compared=excess.numel(),
        allowed=float(tolerance[vector]) if absolute is None else absolute,
        is_norm=absolute is None,
    )


def _unravel_index(flat_index: int, shape: Sequence[int]) -> tuple[int, ...]:
    """The index into a tensor of that shape, from the index into the flattened tensor."""
    index: list[int] = []
    for size in reversed(shape):
        flat_index, remainder = divmod(flat_index, size)
        index.append(remainder)
    return tuple(reversed(index))
