"""Whether a case can run here: what its kernel supports, and what fits in memory."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from attnprof import kernels
from attnprof.core.errors import MeasurementError
from attnprof.core.units import format_bytes
from attnprof.core.workload import Case
from attnprof.isolation.system_memory import available_bytes

if TYPE_CHECKING:
    from attnprof.core.records import Status


def feasibility(
    case: Case, static_bytes: int = 0, available: int | None = None
) -> tuple[Status, str]:
    """`ok` and an empty reason, or the status of a case that cannot run and the reason.

    Args:
        case: what is to run.
        static_bytes: parameters and inputs of other cases that are in memory at the same time.
        available: free bytes on the device; None to read them here.
    """
    kernel = kernels.find(case.kernel)
    reason = kernel.unsupported_reason(case.workload)
    if reason:
        return "unsupported", reason
    needed = static_bytes + kernel.static_bytes(case.workload)
    with suppress(MeasurementError):  # the reason is reported with the predicted peak
        needed += kernel.peak_bytes(case.workload)
    if available is None:
        available = available_bytes(case.workload.device)
    if needed > available:
        return "skipped", (
            f"needs {format_bytes(needed)} ({needed} bytes), "
            f"{format_bytes(available)} ({available} bytes) available"
        )
    return "ok", ""
