"""Every counter against the truth at operator level, each difference by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from attnprof import kernels
from attnprof.analysis.audit_table import AuditRow, AuditTable
from attnprof.core import formulas
from attnprof.core.errors import describe_error
from attnprof.core.workload import Case
from attnprof.counting import counters, third_party
from attnprof.counting.counters import REFERENCE_COUNTER
from attnprof.isolation.fork_server import ForkServer
from attnprof.measure import worker_tasks
from attnprof.measure.breakdown import count_case_operators
from attnprof.measure.feasibility import feasibility
from attnprof.measure.request import where_it_runs

if TYPE_CHECKING:
    from attnprof.counting.operator_counts import OperatorCounts
    from attnprof.counting.reconciliation import Reconciliation

FORMULA = "formula"
USEFUL = "useful"
MAX_SECONDS_APART = 300.0

NOT_COUNTED_BACKWARD = "backward pass not counted"
MORE_WITH_HOOKS = "products that modules with hooks multiply in addition"
LESS_WITH_HOOKS = "products that modules with hooks do without"
"""Some modules take another path when a counter adds hooks to them."""

Runs = Callable[[Callable[[Case], Any], Case], Any]
"""Calls a function with a case, in one process or another."""


def installed_peers() -> tuple[str, ...]:
    """The peers whose packages are there."""
    return tuple(name for name in third_party.names() if third_party.is_installed(name))


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
    result = AuditTable(
        missing_peers=tuple(n for n in third_party.names() if not third_party.is_installed(n))
    )
    with ExitStack() as stack:
        server = None
        if chosen or any(kernels.find(case.kernel).needs_compilation for case in cases):
            modules = [*chosen, *(f"attnprof.counting.third_party.{name}" for name in chosen)]
            built_in = {case.kernel for case in cases if not kernels.is_custom(case.kernel)}
            server = stack.enter_context(
                ForkServer([*modules, *worker_tasks.model_modules(built_in)])
            )
        for index, case in enumerate(cases):
            observe(f"{case.kernel} at {case.workload.seq_len:,}", index / len(cases))
            try:
                reason = kernels.find(case.kernel).unsupported_reason(case.workload)
                if reason:
                    result.refusals.append((case, reason))
                else:
                    result.rows += _rows_of(case, chosen, server)
            except Exception as error:
                result.failures.append((case, describe_error(error)))
        observe("done", 1.0)
    return result


def _rows_of(case: Case, peer_names: Sequence[str], server: ForkServer | None) -> list[AuditRow]:
    """The truth first, then everything else."""
    kernel, counts = kernels.find(case.kernel), where_it_runs(count_case_operators, case)
    true_macs = counts.complete_macs
    rows = [AuditRow(case, REFERENCE_COUNTER, true_macs, true_macs)]
    if not kernels.is_custom(case.kernel):
        rows.append(AuditRow(case, FORMULA, true_macs, kernel.executed_macs(case.workload)))
        rows.append(_useful(case, counts))
    status, reason = feasibility(case)
    # What was compiled before decides whether some counters crash on what is compiled.
    alone = partial(_run_alone, server) if server else where_it_runs
    runs: Runs = alone if kernel.needs_compilation else where_it_runs
    asked = [
        (name, counters.find(name), runs) for name in counters.names() if name != REFERENCE_COUNTER
    ]
    asked += [(name, third_party.find(name), alone) for name in peer_names]
    for name, counter, where in asked:
        if status == "ok":
            rows.append(_row(case, name, counter, true_macs, where))
        else:  # most of them run for real
            rows.append(AuditRow(case, name, true_macs, failure=f"{status}: {reason}"))
    return rows


def _run_alone(server: ForkServer, function: Callable[[Case], Any], case: Case) -> Any:
    """Call it in a process of its own."""
    return server.run(function, case, max_seconds=MAX_SECONDS_APART).result


def _row(case: Case, name: str, counter: counters.Counter, true_macs: int, runs: Runs) -> AuditRow:
    try:
        counted: int = runs(partial(_count_by, counter.__name__), case)
    except Exception as error:
        return AuditRow(case, name, true_macs, failure=f"crash: {describe_error(error)}")
    try:
        account = where_it_runs(partial(_explain_by, counter.__name__), case)
    except Exception as error:
        return AuditRow(case, name, true_macs, counted, failure=f"no rule: {describe_error(error)}")
    differences = dict(account.differences)
    beside = account.true_macs - true_macs
    if beside and case.workload.mode == "training":
        differences[NOT_COUNTED_BACKWARD] = beside
    elif beside:
        differences[MORE_WITH_HOOKS if beside > 0 else LESS_WITH_HOOKS] = beside
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

    from attnprof.counting.fake_tensors import fake_mode

    with fake_mode():
        module = kernels.find(case.kernel).build(case.workload).module
    return frozenset(path for path, one in module.named_modules() if isinstance(one, nn.Linear))


def _count_by(module: str, case: Case) -> int:
    """The count of a counter or a peer, in the process that this is called in."""
    return _counter(module).count(partial(kernels.find(case.kernel).build, case.workload))


def _explain_by(module: str, case: Case) -> Reconciliation:
    """How a counter or a peer comes to its count, in the process that this is called in."""
    return _counter(module).explain(partial(kernels.find(case.kernel).build, case.workload))


def _counter(module: str) -> counters.Counter:
    return importlib.import_module(module)  # type: ignore[return-value]
