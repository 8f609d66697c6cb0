"""`attnprof audit --formulas`: published formulas instead of counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from attnprof import kernels
from attnprof.core.errors import UsageError
from attnprof.core.option_values import read_whole_number
from attnprof.core.workload import Case
from attnprof.options import GridOptions, read_cases, read_kernel_names
from attnprof.report.outputs import OutputOptions, Outputs

if TYPE_CHECKING:
    from attnprof.analysis.formula_audit import FormulaAudit

FORMULA_LENGTHS = (4096,)
FORMULA_KERNELS = ("bert-sdpa", "longformer-banded")


@dataclass(frozen=True, slots=True)
class FormulaAuditRequest:
    """An audit of formulas, checked and ready to run."""

    cases: tuple[Case, ...]
    vocab_size: int
    outputs: Outputs[FormulaAudit]

    def run(self) -> FormulaAudit:
        """Evaluate, explain, and write the requested outputs."""
        from attnprof.analysis.formula_audit import audit_formulas

        result = audit_formulas(self.cases, self.vocab_size)
        self.outputs.save(result)
        return result


def prepare_formula_audit(options: Mapping[str, object]) -> FormulaAuditRequest:
    """Check the options of an audit of formulas; by default of whole layers at 4,096 tokens.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    from attnprof.analysis.formula_audit import FormulaAudit

    def markdown(result: FormulaAudit) -> str:
        from attnprof.report.formula_audit import render_formula_audit_markdown

        return render_formula_audit_markdown(result)

    if options.get("mode") == "decode":
        raise UsageError("mode", "decode", "must be inference or training with --formulas")
    defaults = {"len": FORMULA_LENGTHS, "kernel": FORMULA_KERNELS, "scope": "layer"}
    grid = cast("GridOptions", {**defaults, **options})
    for name in read_kernel_names(grid):
        if kernels.is_custom(name):
            raise UsageError("kernel", name, "must be a built-in kernel with --formulas")
    vocab_size = 0
    if options.get("vocab_size") is not None:
        vocab_size = read_whole_number(options, "vocab_size", 1)
    outputs = Outputs[FormulaAudit].read(
        cast("OutputOptions", {name: options.get(name) for name in ("csv", "json", "markdown")}),
        {"csv": FormulaAudit.to_csv, "json": FormulaAudit.to_json, "markdown": markdown},
    )
    return FormulaAuditRequest(read_cases(grid, "cpu"), vocab_size, outputs)
