"""The limit on executed MACs over useful ones: those that masks let through, and all others."""

from __future__ import annotations

from collections.abc import Iterator

from attnprof.core.units import format_ratio, format_tokens
from attnprof.guard.changes import describe_changes, most_changed
from attnprof.guard.contract import EXECUTED_OVER_USEFUL, Contract
from attnprof.guard.measurement import ContractCosts
from attnprof.guard.results import Breach, Step

_TERM = f"max.{EXECUTED_OVER_USEFUL}"


def unknown_useful(contract: Contract, measured: ContractCosts) -> str:
    """Why the limit cannot be checked; empty if it can, or if there is none."""
    if contract.executed_over_useful is None or not measured.useful_problem:
        return ""
    if contract.forbids_uncounted and measured.uncounted:
        return ""  # this is a breach already
    return f"{_TERM}: cannot be checked: {measured.useful_problem}"


def over_useful(contract: Contract, measured: ContractCosts) -> Iterator[Breach]:
    """The breach of the limit, if there is one, with the modules that multiply hidden pairs."""
    limit, useful = contract.executed_over_useful, measured.useful_macs
    if limit is None:
        return
    over = [
        Step(n, int(limit * useful[n]), cell.macs)
        for n, cell in measured.cells.items()
        if n in useful and cell.macs > limit * useful[n]
    ]
    if not over:
        return
    worst = format_ratio(max(step.now / useful[step.seq_len] for step in over))
    hidden = most_changed({}, measured.hidden_macs, over[-1].seq_len)
    raise_it = f"raise {_TERM} in the contract, or skip masked pairs, as flex_attention does"
    yield Breach(
        _TERM,
        f"executed MACs are up to {worst} the useful ones, over the limit from "
        f"{format_tokens(over[0].seq_len)}",
        "macs",
        f"{limit:g}x",
        tuple(over),
        tuple(f"{line} of masked pairs" for line in describe_changes("macs", hidden)),
        (f"{raise_it}; attnprof windows shows each layer",),
    )
