"""Published cost formulas beside what a call needs and what kernels execute of it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from attnprof import kernels
from attnprof.analysis.uncounted import uncounted_records
from attnprof.core import formulas, published_formulas
from attnprof.core.mac_parts import MacParts, sum_terms
from attnprof.core.mask_pattern import format_mask
from attnprof.core.notation import format_dilation, format_global_tokens, format_window
from attnprof.core.published_formulas import ModelSizes
from attnprof.core.workload import Case, Workload

Kind = Literal["useful", "executed", "formula"]

_PARTS = {
    "projections": "projections",
    "scores": "scores",
    "context": "context",
    "global_tokens": "products of global tokens",
    "output_projection": "output projection",
    "feed_forward": "feed-forward",
}

_COLUMNS: Mapping[str, Callable[[FormulaRow], Any]] = {
    "seq_len": lambda row: row.workload.seq_len,
    "window": lambda row: format_window(row.workload.pattern),
    "dilation": lambda row: format_dilation(row.workload.pattern),
    "global_tokens": lambda row: format_global_tokens(row.workload.pattern),
    "hidden_size": lambda row: row.workload.hidden_size,
    "num_heads": lambda row: row.workload.num_heads,
    "batch_size": lambda row: row.workload.batch_size,
    "mode": lambda row: row.workload.mode,
    "scope": lambda row: row.workload.scope,
    "layers": lambda row: len(row.workload.layers),
    "causal": lambda row: int(row.workload.pattern.causal),
    "kv_heads": lambda row: row.workload.kv_heads,
    "head_dim": lambda row: row.workload.head_dim,
    "value_dim": lambda row: row.workload.value_dim,
    "pattern": lambda row: format_mask(row.workload.pattern),
    "kind": lambda row: row.kind,
    "name": lambda row: row.name,
    "macs": lambda row: plain_number(row.macs),
    "useful_macs": lambda row: row.useful_macs,
    "differences": lambda row: {name: plain_number(macs) for name, macs in row.differences.items()},
    "residual_macs": lambda row: plain_number(row.residual_macs),
    "source": lambda row: row.source,
}


@dataclass(frozen=True, slots=True)
class FormulaRow:
    """One figure for the MACs of a call.

    Attributes:
        workload: the call.
        kind: what the pattern needs, what a kernel executes, or what a formula says.
        name: of the kernel or the formula; empty for what the pattern needs.
        macs: MACs of the call; a formula may have half ones.
        useful_macs: what the pattern needs.
        differences: what `macs` has more or less than that, by name.
        source: where the formula is published; empty for the others.
    """

    workload: Workload
    kind: Kind
    name: str
    macs: Fraction
    useful_macs: int
    differences: Mapping[str, Fraction] = field(default_factory=dict[str, Fraction])
    source: str = ""

    @property
    def residual_macs(self) -> Fraction:
        """MACs that no difference explains."""
        return self.macs - self.useful_macs - sum(self.differences.values())


@dataclass(slots=True)
class FormulaAudit:
    """Rows of every workload, and kernels that do not run it.

    Attributes:
        rows: for each workload what it needs, then what kernels execute, then the formulas.
        refusals: cases that their kernel does not support, with the reason.
    """

    rows: list[FormulaRow] = field(default_factory=list[FormulaRow])
    refusals: list[tuple[Case, str]] = field(default_factory=list["tuple[Case, str]"])

    @property
    def unexplained(self) -> list[FormulaRow]:
        """Rows with MACs that no difference explains."""
        return [row for row in self.rows if row.residual_macs]

    def to_csv(self) -> str:
        """One row for each figure; differences as `name=+1; name=-2`."""
        import pandas as pd

        text = io.StringIO()
        records = [{**_as_record(row), "differences": _listed(row)} for row in self.rows]
        pd.DataFrame(records, columns=list(_COLUMNS), dtype=object).to_csv(
            text, index=False, lineterminator="\n"
        )
        return text.getvalue()

    def to_json(self) -> str:
        """The rows, and the cases that their kernel does not support."""
        document = {
            "rows": [_as_record(row) for row in self.rows],
            "unsupported": uncounted_records(self.refusals),
        }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def audit_formulas(cases: Sequence[Case], vocab_size: int = 0) -> FormulaAudit:
    """Compare every published formula with each workload, and with what its kernels execute.

    Args:
        cases: of built-in kernels, in mode `inference` or `training`.
        vocab_size: rows of the embedding and of the output logits; 0 for layers alone.
    """
    audit = FormulaAudit()
    for workload in dict.fromkeys(case.workload for case in cases):
        useful_macs = formulas.useful_macs(workload)
        audit.rows.append(FormulaRow(workload, "useful", "", Fraction(useful_macs), useful_macs))
        for case in (case for case in cases if case.workload == workload):
            reason = kernels.find_built_in(case.kernel).unsupported_reason(workload)
            if reason:
                audit.refusals.append((case, reason))
            else:
                audit.rows.append(_executed(case, useful_macs))
        audit.rows += _published(workload, vocab_size, useful_macs)
    return audit


def plain_number(macs: Fraction) -> int | float:
    """A number for JSON and CSV: an integer, unless half a MAC is left over."""
    return macs.numerator if macs.denominator == 1 else float(macs)


def _executed(case: Case, useful_macs: int) -> FormulaRow:
    """What a kernel executes, part by part of the work."""
    workload, kernel = case.workload, kernels.find_built_in(case.kernel)
    needed = sum_terms(formulas.useful_terms(workload))
    executed = sum_terms(kernel.mac_terms(workload))
    differences = dict(_part_differences(executed, needed))
    macs = Fraction(kernel.executed_macs(workload))
    return FormulaRow(workload, "executed", case.kernel, macs, useful_macs, differences)


def _part_differences(executed: MacParts, needed: MacParts) -> Iterator[tuple[str, Fraction]]:
    for part, name in _PARTS.items():
        surplus = getattr(executed, part) - getattr(needed, part)
        if surplus:
            how = "more" if surplus > 0 else "fewer"
            yield f"{how} MACs of {name} than needed", Fraction(surplus)


def _published(workload: Workload, vocab_size: int, useful_macs: int) -> Iterable[FormulaRow]:
    sizes = ModelSizes.of(workload, vocab_size)
    for name in published_formulas.names():
        formula = published_formulas.find(name)
        yield FormulaRow(
            workload,
            "formula",
            name,
            formula.flops(sizes) / 2,
            useful_macs,
            formula.differences(workload, sizes),
            formula.source,
        )


def _listed(row: FormulaRow) -> str:
    numbers = {name: plain_number(macs) for name, macs in row.differences.items()}
    return "; ".join(f"{name}={number:+}" for name, number in numbers.items())


def _as_record(row: FormulaRow) -> dict[str, Any]:
    return {name: value(row) for name, value in _COLUMNS.items()}
