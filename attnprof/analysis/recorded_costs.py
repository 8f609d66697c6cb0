"""The costs that findings ask of custom kernels, recorded while these can still run."""

from __future__ import annotations

from dataclasses import replace

from attnprof import kernels
from attnprof.analysis.comparisons import comparisons_of
from attnprof.analysis.explanation import explain_all
from attnprof.analysis.findings import find_in
from attnprof.analysis.findings.max_length import needed_bytes
from attnprof.analysis.series import series_of
from attnprof.core.mask_pattern import mask_layers
from attnprof.core.result_table import ResultTable
from attnprof.core.saved_costs import SavedCosts, costs_name
from attnprof.kernels.custom import is_target
from attnprof.kernels.custom.saved import RecordedKernel


def recorded_costs(table: ResultTable) -> dict[str, SavedCosts]:
    """What findings need of each custom kernel of a table, by `costs_name`; runs their code.

    A table with these as its `saved_costs` has the same findings without it.
    """
    return {
        costs_name(name, part.table.rows[0].setting): costs
        for part in comparisons_of(table)
        if part.table.rows
        for name, costs in _recorded(part.table).items()
    }


def _recorded(table: ResultTable) -> dict[str, SavedCosts]:
    names = dict.fromkeys(row.kernel for row in table.rows if row.kernel not in kernels.names())
    found = {name: kernels.find(name) for name in names}
    recorders = {
        name: RecordedKernel(kernel) for name, kernel in found.items() if is_target(kernel)
    }
    # What was evaluated of mask functions is kept too.
    if not (recorders or any(mask_layers(row.workload.pattern) for row in table.rows)):
        return {}
    series = [
        replace(member, saved=recorders.get(member.rows[0].kernel)) for member in series_of(table)
    ]
    find_in(table, series)
    explain_all(member for member in series if member.is_custom)
    for member in series:
        if member.is_custom:
            needed_bytes(member)
    return {name: recorder.costs for name, recorder in recorders.items()}
