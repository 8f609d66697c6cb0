"""Every counter against the truth at operator level, each difference by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from attnprof import counters, formulas, kernels, peers
from attnprof.audit_table import AuditRow, AuditTable
from attnprof.breakdown import count
from attnprof.errors import MeasurementError
from attnprof.fitting import obstacle
from attnprof.isolated import ForkServer
from attnprof.plan import Case

if TYPE_CHECKING:
    from attnprof.call import Build
    from attnprof.operators.accounting import Account
    from attnprof.operators.counting import OperatorCounts

TRUTH = "operator"
FORMULA = "formula"
USEFUL = "useful"
MAX_SECONDS_A_PEER = 300.0

NOT_COUNTED_BACKWARD = "backward pass not counted"


def installed_peers() -> tuple[str, ...]:
    """The peers whose packages are there."""
    return tuple(name for name in peers.names() if peers.is_installed(name))


def audit(
    cases: Sequence[Case],
    peer_names: Iterable[str],
    observe: Callable[[str, float], None] = lambda activity, done: None,
) -> AuditTable:
    """Count every case by every counter, and explain the counts.

    Args:
        cases: what to count.
        peer_names: the peers to ask as well; each count is taken in a process of its own.
        observe: told what is being done, and which part of all work is done.
    """
    chosen = tuple(peer_names)
    result = AuditTable(missing_peers=tuple(n for n in peers.names() if not peers.is_installed(n)))
    if not chosen:
        _audit_all(cases, result, (), observe)
        return result
    modules = [f"attnprof.peers.{name}" for name in chosen]
    with ForkServer([*chosen, *modules, *_needed_modules(cases)]) as server:
        counts = [(name, partial(_asked, server, name)) for name in chosen]
        _audit_all(cases, result, counts, observe)
    return result


def _needed_modules(cases: Iterable[Case]) -> list[str]:
    """What building the kernels imports, for it to be imported once."""
    models = {"bert": "bert", "longformer": "longformer"}
    prefixes = {case.kernel.partition("-")[0] for case in cases if not kernels.is_own(case.kernel)}
    return [
        f"transformers.models.{model}.modeling_{model}"
        for prefix, model in models.items()
        if prefix in prefixes
    ]


_PeerCounts = Sequence[tuple[str, Callable[[Case], "tuple[int | None, str]"]]]
"""Peers, each with what asks it: the count, or how it failed."""


def _audit_all(
    cases: Sequence[Case],
    result: AuditTable,
    peer_counts: _PeerCounts,
    observe: Callable[[str, float], None],
) -> None:
    for index, case in enumerate(cases):
        observe(f"{case.kernel} at {case.workload.seq_len:,}", index / len(cases))
        reason = kernels.find(case.kernel).supports(case.workload)
        if reason:
            result.refusals.append((case, reason))
            continue
        try:
            result.rows += _rows_of(case, peer_counts)
        except Exception as error:
            result.failures.append((case, _described(error)))
    observe("done", 1.0)


def _rows_of(case: Case, peer_counts: _PeerCounts) -> list[AuditRow]:
    """The truth first, then everything else."""
    counts = count(case)
    true_macs = counts.complete_macs
    rows = [AuditRow(case, TRUTH, true_macs, true_macs)]
    if not kernels.is_own(case.kernel):
        executed = kernels.find(case.kernel).executed_macs(case.workload)
        rows.append(AuditRow(case, FORMULA, true_macs, executed))
        rows.append(_useful(case, counts))
    build = partial(kernels.find(case.kernel).build, case.workload)
    own = [
        (name, partial(_counted, counters.find(name), build), counters.find(name))
        for name in counters.names()
        if name != TRUTH
    ]
    asked = [(name, partial(ask, case), peers.find(name)) for name, ask in peer_counts]
    status, reason = obstacle(case)
    for name, ask, counter in [*own, *asked]:
        if status == "ok":
            rows.append(_row(case, name, true_macs, ask, partial(counter.explain, build)))
        else:  # most of them run for real
            rows.append(AuditRow(case, name, true_macs, failure=f"{status}: {reason}"))
    return rows


def _counted(counter: counters.Counter, build: Build) -> tuple[int | None, str]:
    try:
        return counter.count(build), ""
    except Exception as error:
        return None, f"crash: {_described(error)}"


def _row(
    case: Case,
    name: str,
    true_macs: int,
    ask: Callable[[], tuple[int | None, str]],
    explain: Callable[[], Account],
) -> AuditRow:
    counted, failure = ask()
    if counted is None:
        return AuditRow(case, name, true_macs, failure=failure)
    try:
        account = explain()
    except Exception as error:
        return AuditRow(case, name, true_macs, counted, failure=f"no rule: {_described(error)}")
    differences = dict(account.differences)
    if account.true_macs != true_macs and case.workload.mode == "training":
        differences[NOT_COUNTED_BACKWARD] = account.true_macs - true_macs
    return AuditRow(case, name, true_macs, counted, differences)


def _useful(case: Case, counts: OperatorCounts) -> AuditRow:
    """What the pattern needs, and what sets it off from what the kernel multiplies."""
    kernel, workload = kernels.find(case.kernel), case.workload
    padded = workload.at(kernels.padded_seq_len(kernel, workload))
    times = formulas.TRAINING_FACTOR if workload.mode == "training" else 1
    useful, useful_padded = formulas.useful_macs(workload), formulas.useful_macs(padded)
    attention = times * sum(formulas.attention_macs(padded, layer) for layer in padded.layers)
    linear = _linear_layers(case)
    projected = sum(tally.macs for (place, _), tally in counts.tallies.items() if place in linear)
    differences = {
        "padding not counted": useful - useful_padded,
        "projections that are not multiplied": useful_padded - attention - projected,
        "products beside the pattern not counted": attention - (counts.macs - projected),
    }
    named = {name: macs for name, macs in differences.items() if macs}
    return AuditRow(case, USEFUL, counts.macs, useful, named)


def _linear_layers(case: Case) -> frozenset[str]:
    """Paths of the linear layers in the kernel's module."""
    from torch import nn

    from attnprof.operators.fake import fake_mode

    with fake_mode():
        module = kernels.find(case.kernel).build(case.workload).module
    return frozenset(path for path, one in module.named_modules() if isinstance(one, nn.Linear))


def _asked(server: ForkServer, peer: str, case: Case) -> tuple[int | None, str]:
    outcome = server.run(count_by_peer, peer, case, max_seconds=MAX_SECONDS_A_PEER)
    return outcome.value, f"crash: {outcome.failure}" if outcome.failure else ""


def count_by_peer(peer: str, case: Case) -> int:
    """A peer's count, in the process that this is called in."""
    return peers.find(peer).count(partial(kernels.find(case.kernel).build, case.workload))


def _described(error: Exception) -> str:
    message = " ".join(str(error).split())
    if isinstance(error, MeasurementError):
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
