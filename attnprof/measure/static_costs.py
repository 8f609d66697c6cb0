"""What is known of a case without running it: closed forms, or counts of a custom kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from attnprof import kernels
from attnprof.core import formulas, roofline
from attnprof.core.cache_size import cache_bytes
from attnprof.core.errors import MeasurementError, UncountedError, describe_error
from attnprof.core.records import (
    ALLOCATED_CACHE,
    Record,
    Value,
    case_record,
    failure_record,
    missing_value_record,
)
from attnprof.core.units import format_bytes
from attnprof.core.workload import Case, Workload
from attnprof.kernels import Kernel, find_decoding
from attnprof.kernels.custom import is_target

_MAY_BE_EMPTY = ("useful_macs", "predicted_peak_bytes", "min_bytes")


def estimate_records(cases: Iterable[Case]) -> Iterator[Record]:
    """Closed forms of every case: no torch and no memory needed, at any length.

    A custom kernel has no closed forms: it is counted on fake tensors, for which torch is loaded.
    """
    for case in cases:
        try:
            yield from closed_form_records(case)
        except Exception as error:
            yield failure_record(case, error)
            continue
        reason = kernels.find(case.kernel).unsupported_reason(case.workload)
        yield case_record(case, "unsupported" if reason else "ok", reason or "")


def closed_form_records(case: Case) -> Iterator[Record]:
    """Parameters, MACs, predicted peak memory, least bytes and intensity of a case.

    Raises:
        Exception: whatever a custom kernel raises.
    """
    kernel, workload = kernels.find(case.kernel), case.workload
    if kernel.pattern_support == "custom":
        yield from _counts_of_custom(case, kernel)
        return
    least_bytes = roofline.min_bytes(workload)
    values: dict[str, Value] = {"useful_macs": useful_macs(case), "min_bytes": least_bytes}
    if workload.mode == "decode":
        values["cache_bytes"] = cache_bytes(workload)
    if kernel.unsupported_reason(workload) is None:
        executed_macs = kernel.executed_macs(workload)
        values |= {
            "padded_seq_len": kernels.padded_seq_len(kernel, workload),
            "params": kernel.parameters(workload),
            "executed_macs": executed_macs,
            "predicted_peak_bytes": kernel.peak_bytes(workload),
            "intensity": roofline.intensity(executed_macs, least_bytes),
        }
        yield from _allocated_cache(case)
    for quantity, value in values.items():
        yield Record(case.kernel, workload, quantity, value)


def useful_macs(case: Case) -> int:
    """MACs that a case needs: of a custom kernel, those that its masks let through.

    Raises:
        MeasurementError: when a mask of a custom kernel depends on data.
    """
    kernel = kernels.find(case.kernel)
    if is_target(kernel):
        return kernel.useful_macs(case.workload)
    return formulas.useful_macs(case.workload)


def _allocated_cache(case: Case) -> Iterator[Record]:
    """What the kernel's cache allocates, where that is not what decoding needs."""
    workload = case.workload
    if workload.mode != "decode":
        return
    allocated, needed = find_decoding(case.kernel).cache_bytes(workload), cache_bytes(workload)
    if allocated != needed:
        detail = f"its cache allocates {format_bytes(allocated)} ({format_bytes(needed)} needed)"
        yield Record(case.kernel, workload, ALLOCATED_CACHE, allocated, detail=detail)


def _counts_of_custom(case: Case, kernel: Kernel) -> Iterator[Record]:
    """The same quantities of a custom kernel, from a run on fake tensors.

    Operators without a formula leave their quantity empty, with the reason; so does a mask that
    depends on data, and a peak that cannot be predicted.
    """
    workload = case.workload
    if kernel.unsupported_reason(workload) is not None:
        return
    quantities: dict[str, Callable[[Workload], int]] = {
        "padded_seq_len": lambda workload: kernels.padded_seq_len(kernel, workload),
        "params": kernel.parameters,
        "useful_macs": lambda _: useful_macs(case),
        "executed_macs": kernel.executed_macs,
        "predicted_peak_bytes": kernel.peak_bytes,
    }
    notes = ""
    if is_target(kernel):
        quantities["min_bytes"] = kernel.min_bytes
        if workload.mode == "decode":
            quantities["cache_bytes"] = kernel.cache_bytes
        notes = "; ".join(kernel.notes(workload))
    known: dict[str, int] = {}
    for quantity, count in quantities.items():
        detail = notes if quantity == "params" else ""
        try:
            known[quantity] = count(workload)
            yield Record(case.kernel, workload, quantity, known[quantity], detail=detail)
        except UncountedError as error:
            yield missing_value_record(case, quantity, describe_error(error))
        except MeasurementError as error:
            if quantity not in _MAY_BE_EMPTY:
                raise
            yield missing_value_record(case, quantity, describe_error(error))
    if {"executed_macs", "min_bytes"} <= known.keys():
        value = roofline.intensity(known["executed_macs"], known["min_bytes"])
        yield Record(case.kernel, workload, "intensity", value)
