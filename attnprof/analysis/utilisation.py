"""How much of the machine's matmul rate a call reaches, from its time and the machine's rates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from attnprof.core.machine import Machine
from attnprof.core.records import (
    CASE,
    COPY_RATE,
    MATMUL_RATE,
    UTILISATIONS,
    WITHHELD,
    Record,
    Value,
)
from attnprof.core.units import format_share
from attnprof.core.workload import Workload

_FAULT = (
    "of the matmul rate cannot be: the rate was measured too low, as on a disturbed machine, or "
    "MACs are counted that were not executed"
)


def with_rates_of(records: Iterable[Record], machine: Machine) -> Iterator[Record]:
    """The records; each supported case gets the rates of a stored machine.

    Where the machine has no rate for the dtype or the device of a case, its detail says so. Rates
    that an earlier run has recorded are kept, as its utilisations are.

    Args:
        records: of cases, each closed by its last record.
        machine: the stored machine.
    """
    have_rates: set[tuple[str, Workload]] = set()
    for record in records:
        case = (record.kernel, record.workload)
        if record.quantity == MATMUL_RATE:
            have_rates.add(case)
        is_end = record.quantity == CASE and record.status != "unsupported"
        if is_end and case not in have_rates:
            yield from _rates_of(machine, *case)
        yield record


def _rates_of(machine: Machine, kernel: str, workload: Workload) -> Iterator[Record]:
    macs_per_s = machine.rates.matmul_macs_per_s.get(workload.dtype)
    bytes_per_s = machine.rates.copy_bytes_per_s
    if machine.device != workload.device or not macs_per_s or not bytes_per_s:
        detail = (
            f"bound and utilisation are empty: the stored machine has no rates of "
            f"{workload.dtype} on {workload.device}"
        )
        yield Record(kernel, workload, MATMUL_RATE, None, "ok", detail)
        return
    yield Record(kernel, workload, MATMUL_RATE, macs_per_s)
    yield Record(kernel, workload, COPY_RATE, bytes_per_s)


def with_utilisation(records: Iterable[Record]) -> Iterator[Record]:
    """The records; each timed case gets its utilisations, before the record that closes it.

    Not where background load withholds verdicts: no figure follows from such times. A figure above
    100 % is a fault, and its detail says so.

    Args:
        records: of cases, each closed by its last record.
    """
    values: dict[tuple[str, Workload], dict[str, Value]] = {}
    for record in records:
        of_case = values.setdefault((record.kernel, record.workload), {})
        if record.value is not None:
            of_case[record.quantity] = record.value
        if record.quantity == CASE:
            yield from _utilisations(record.kernel, record.workload, of_case)
        yield record


def _utilisations(kernel: str, workload: Workload, values: Mapping[str, Value]) -> Iterator[Record]:
    time_ns, macs_per_s = values.get("time_ns"), values.get(MATMUL_RATE)
    if not time_ns or not macs_per_s or values.get(WITHHELD):
        return
    for quantity, macs in UTILISATIONS.items():
        if macs in values and quantity not in values:
            part = round(values[macs] / time_ns * 1e9 / macs_per_s, 4)
            is_fault = part > 1 and quantity == "utilisation"
            detail = f"{quantity} of {format_share(part, 1)} {_FAULT}" if is_fault else ""
            yield Record(kernel, workload, quantity, part, detail=detail)
