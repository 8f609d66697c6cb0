"""MACs by module or operator: the table of `breakdown`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from attnprof.analysis.uncounted import uncounted_records
from attnprof.core.growth.polynomial import doubling_exponent
from attnprof.core.workload import Case

By = Literal["module", "operator"]


@dataclass(frozen=True, slots=True)
class Part:
    """One module with all its submodules, or one operator wherever it runs.

    Attributes:
        kernel: name of the kernel.
        seq_len: tokens.
        by: `module` or `operator`.
        part: the module's path, empty for the root module, or the operator's name.
        calls: operator calls in the part.
        macs: MACs of the part; None where one of its operators has no formula.
        share: `macs` as a part of those of the whole call, 0 to 1; None where these are not known.
        growth: the exponent k of MACs ~ n^k from the length before; None at the first length.
    """

    kernel: str
    seq_len: int
    by: By
    part: str
    calls: int
    macs: int | None
    share: float | None
    growth: float | None = None


@dataclass(slots=True)
class Breakdown:
    """Parts of every case, and the cases that could not be counted, with the reason."""

    parts: list[Part]
    failures: list[tuple[Case, str]]

    def to_csv(self) -> str:
        """One row for each part; a cell is empty where there is no value."""
        import pandas as pd

        text = io.StringIO()
        columns = list(Part.__dataclass_fields__)
        frame = pd.DataFrame([asdict(part) for part in self.parts], columns=columns, dtype=object)
        frame.to_csv(text, index=False, lineterminator="\n")
        return text.getvalue()

    def to_json(self) -> str:
        """The parts and the failures."""
        import json

        document = {
            "parts": [asdict(part) for part in self.parts],
            "failures": uncounted_records(self.failures),
        }
        return json.dumps(document, indent=2) + "\n"


def exponent_since(shorter: tuple[int, int] | None, seq_len: int, macs: int | None) -> float | None:
    """The exponent k of MACs ~ n^k from a shorter length with its MACs; None if there is none."""
    if not macs or shorter is None or shorter[0] >= seq_len:
        return None
    return round(doubling_exponent(shorter, (seq_len, macs)), 3)


def own_parts(parts: Sequence[Part]) -> dict[tuple[str, int, str], Part]:
    """What modules compute outside their submodules, by kernel, length and path.

    Only of modules with submodules that have MACs, and only where it has MACs, or an operator
    without a formula. With it, the parts below a module add up to the module.
    """
    children: dict[tuple[str, int, str], list[Part]] = {}
    for part in parts:
        if part.by == "module" and part.part:
            parent = part.part.rpartition(".")[0]
            children.setdefault((part.kernel, part.seq_len, parent), []).append(part)
    own: dict[tuple[str, int, str], Part] = {}
    shorter: dict[tuple[str, str], tuple[int, int]] = {}
    for part in parts:
        key = (part.kernel, part.seq_len, part.part)
        itself = _own_part(part, children.get(key, [])) if part.by == "module" else None
        if itself is None:
            continue
        series = (part.kernel, part.part)
        growth = exponent_since(shorter.get(series), part.seq_len, itself.macs)
        own[key] = replace(itself, growth=growth)
        if itself.macs:
            shorter[series] = (part.seq_len, itself.macs)
    return own


def _own_part(part: Part, children: Sequence[Part]) -> Part | None:
    """The part without its children; None where nothing is left, or where that is not known."""
    if all(child.macs == 0 for child in children) or any(child.macs is None for child in children):
        return None
    macs = None if part.macs is None else part.macs - sum(child.macs or 0 for child in children)
    share = None
    if macs and part.macs and part.share is not None:
        share = part.share * macs / part.macs
    calls = part.calls - sum(child.calls for child in children)
    return None if macs == 0 else replace(part, calls=calls, macs=macs, share=share)
