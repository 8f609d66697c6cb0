"""The colour, marker and dash of each kernel, the same in every picture and page.

Colours are those of Okabe and Ito, for colour-blind readers, without their yellow; then others.
Markers and dashes repeat what colours say, for readers and printers without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KernelStyle:
    """How a kernel, or one curve of it, is drawn.

    Attributes:
        colour: `#RRGGBB`.
        marker: a marker of Matplotlib.
        dash: lengths in points of dash and gap; empty for a solid line.
    """

    colour: str
    marker: str
    dash: tuple[float, ...] = ()


_BUILT_IN: Mapping[str, KernelStyle] = {
    "bert-eager": KernelStyle("#E69F00", "s", (4, 1.5)),
    "bert-sdpa": KernelStyle("#000000", "o"),
    "longformer-banded": KernelStyle("#0072B2", "D"),
    "longformer-flex": KernelStyle("#009E73", "v", (6, 1.5, 1, 1.5)),
    "longformer-hf": KernelStyle("#D55E00", "^", (4, 1, 1, 1)),
    "longformer-masked": KernelStyle("#CC79A7", "P", (1, 1)),
    "longformer-triton": KernelStyle("#17807E", "d", (8, 1.5)),
    "mistral-eager": KernelStyle("#8C564B", "p", (2, 1)),
    "mistral-sdpa": KernelStyle("#7A5195", "h", (3, 1)),
}

_OTHERS = (
    KernelStyle("#56B4E9", "X", (5, 1)),
    KernelStyle("#7F7F7F", "*", (1, 1.5)),
    KernelStyle("#808000", "<", (2, 2)),
    KernelStyle("#800020", ">", (3, 2)),
)


def styles_of(kernels: Iterable[str]) -> dict[str, KernelStyle]:
    """The style of each kernel; of custom ones, in alphabetical order, so that it stays the same.

    Args:
        kernels: their names, each any number of times.
    """
    names = dict.fromkeys(kernels)
    custom = sorted(name for name in names if name not in _BUILT_IN)
    others = {name: _OTHERS[index % len(_OTHERS)] for index, name in enumerate(custom)}
    return {name: _BUILT_IN.get(name) or others[name] for name in names}
