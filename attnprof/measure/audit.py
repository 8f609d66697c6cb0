"""Compares every counter with the operator-level count and names each difference."""

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
from attnprof.core.units import format_count
from attnprof.core.workload import Case
from attnprof.counting import counters, third_party
from attnprof.counting.counters import REFERENCE_COUNTER
from attnprof.isolation.fork_server import ForkServer
from attnprof.measure import Observer, worker_tasks
from attnprof.measure.breakdown import count_case_operators
from attnprof.measure.feasibility import feasibility
from attnprof.measure.request import run_in_kernel_process

if TYPE_CHECKING:
    from attnprof.counting.operator_counts import OperatorCounts
    from attnprof.counting.reconciliation import Reconciliation

FORMULA = "formula"
USEFUL = "useful"
MAX_SECONDS_ISOLATED = 300.0

NOT_COUNTED_BACKWARD = "backward pass not counted"
UNCOUNTED_PADDING = "padding not counted"
SKIPPED_PROJECTIONS = "projections skipped by the kernel"
UNCOUNTED_OUTSIDE_PATTERN = "products outside the pattern not counted"
MORE_WITH_HOOKS = "extra products executed when hooks are attached"
LESS_WITH_HOOKS = "products skipped when hooks are attached"
"""Some modules take another code path when a counter attaches hooks to them."""

Run = Callable[[Callable[[Case], Any], Case], Any]
"""Calls a function with a case, in this or another process, and returns its result."""


def installed_peers() -> tuple[str, ...]:
    """The third-party counters whose packages are installed."""
    return tuple(name for name in third_party.names() if third_party.is_installed(name))


def audit(
    cases: Sequence[Case],
    peer_names: Iterable[str],
    observe: Observer = lambda activity, done: None,
) -> AuditTable:
    """Count every case with every counter, and explain the counts.

    Args:
        cases: what to count.
        peer_names: third-party counters to include; each count runs in a process of its own.
        observe: called with the current activity and the fraction of all work done.
    """
    peers = tuple(peer_names)
    result = AuditTable(
        missing_peers=tuple(n for n in third_party.names() if not third_party.is_installed(n))
    )
    with ExitStack() as stack:
        server = None
        if peers or any(kernels.find(case.kernel).needs_compilation for case in cases):
            modules = [*peers, *(f"attnprof.counting.third_party.{name}" for name in peers)]
            built_in = {case.kernel for case in cases if not kernels.is_custom(case.kernel)}
            server = stack.enter_context(
                ForkServer([*modules, *worker_tasks.model_modules(built_in)])
            )
        for index, case in enumerate(cases):
            place = f"{case.kernel} at {format_count(case.workload.seq_len)}"
            observe(f"{place}: counting", index / len(cases))
            try:
                reason = kernels.find(case.kernel).unsupported_reason(case.workload)
                if reason:
                    result.refusals.append((case, reason))
                else:
                    report = partial(_report, observe, place, index, len(cases))
                    result.rows += _rows_of(case, peers, server, report)
            except Exception as error:
                result.failures.append((case, describe_error(error)))
        observe("done", 1.0)
    return result


def _report(
    observe: Observer, place: str, index: int, num_cases: int, counter: str, part: float
) -> None:
    """Report which counter runs, and the part of this case that is done."""
    observe(f"{place}: counting with {counter.replace('_', ' ')}", (index + part) / num_cases)


def _rows_of(
    case: Case, peer_names: Sequence[str], server: ForkServer | None, report: Observer
) -> list[AuditRow]:
    """One row per counter, the operator-level count first; reports each before it runs."""
    kernel = kernels.find(case.kernel)
    counts = run_in_kernel_process(count_case_operators, case)
    true_macs = counts.complete_macs
    rows = [AuditRow(case, REFERENCE_COUNTER, true_macs, true_macs)]
    if not kernels.is_custom(case.kernel):
        rows.append(AuditRow(case, FORMULA, true_macs, kernel.executed_macs(case.workload)))
        rows.append(_useful(case, counts))
    status, reason = feasibility(case)
    run_alone = partial(_run_alone, server) if server else run_in_kernel_process
    # Whether some counters crash on a compiled kernel depends on what the process compiled before.
    run: Run = run_alone if kernel.needs_compilation else run_in_kernel_process
    to_run = [
        (name, counters.find(name), run) for name in counters.names() if name != REFERENCE_COUNTER
    ]
    to_run += [(name, third_party.find(name), run_alone) for name in peer_names]
    for index, (name, counter, run_counter) in enumerate(to_run, 1):
        report(name, index / (1 + len(to_run)))
        if status == "ok":
            rows.append(_row(case, name, counter, true_macs, run_counter))
        else:  # most counters run the kernel on real tensors
            rows.append(AuditRow(case, name, true_macs, failure=f"{status}: {reason}"))
    return rows


def _run_alone(server: ForkServer, function: Callable[[Case], Any], case: Case) -> Any:
    """Call a function in a process of its own."""
    return server.run(function, case, max_seconds=MAX_SECONDS_ISOLATED).result


def _row(case: Case, name: str, counter: counters.Counter, true_macs: int, run: Run) -> AuditRow:
    try:
        counted: int = run(partial(_count_by, counter.__name__), case)
    except Exception as error:
        return AuditRow(case, name, true_macs, failure=f"crash: {describe_error(error)}")
    try:
        explanation = run_in_kernel_process(partial(_explain_by, counter.__name__), case)
    except Exception as error:
        return AuditRow(case, name, true_macs, counted, failure=f"no rule: {describe_error(error)}")
    differences = dict(explanation.differences)
    surplus = explanation.true_macs - true_macs
    if surplus and case.workload.mode == "training":
        differences[NOT_COUNTED_BACKWARD] = surplus
    elif surplus:
        differences[MORE_WITH_HOOKS if surplus > 0 else LESS_WITH_HOOKS] = surplus
    return AuditRow(case, name, true_macs, counted, differences)


def _useful(case: Case, counts: OperatorCounts) -> AuditRow:
    """The MACs that the pattern needs, and how they differ from what the kernel executes."""
    kernel, workload = kernels.find(case.kernel), case.workload
    padded = workload.at(kernels.padded_seq_len(kernel, workload))
    times = formulas.TRAINING_FACTOR if workload.mode == "training" else 1
    useful, useful_padded = formulas.useful_macs(workload), formulas.useful_macs(padded)
    attention = times * sum(formulas.attention_macs(padded, layer) for layer in padded.layers)
    linear = _linear_layers(case)
    projected = sum(tally.macs for (path, _), tally in counts.tallies.items() if path in linear)
    differences = {
        UNCOUNTED_PADDING: useful - useful_padded,
        SKIPPED_PROJECTIONS: useful_padded - attention - projected,
        UNCOUNTED_OUTSIDE_PATTERN: attention - (counts.macs - projected),
    }
    named = {name: macs for name, macs in differences.items() if macs}
    return AuditRow(case, USEFUL, counts.macs, useful, named)


def _linear_layers(case: Case) -> frozenset[str]:
    """Paths of the linear layers in the kernel's module."""
    from torch import nn

    from attnprof.counting.fake_tensors import fake_mode

    with fake_mode():
        module = kernels.find(case.kernel).build(case.workload).module
    return frozenset(
        path for path, submodule in module.named_modules() if isinstance(submodule, nn.Linear)
    )


def _count_by(module: str, case: Case) -> int:
    """The count of a counter, run in this process."""
    return _counter(module).count(partial(kernels.find(case.kernel).build, case.workload))


def _explain_by(module: str, case: Case) -> Reconciliation:
    """How a counter arrives at its count, run in this process."""
    return _counter(module).explain(partial(kernels.find(case.kernel).build, case.workload))


def _counter(module: str) -> counters.Counter:
    return importlib.import_module(module)  # type: ignore[return-value]
