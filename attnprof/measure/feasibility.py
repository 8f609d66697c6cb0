"""Whether a case can be run here: what its kernel takes, and what fits into memory."""

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
    """`ok`, or the status of a case that is not begun, and why.

    Args:
        case: what is to run.
        static_bytes: of others that live at the same time.
        available: bytes that may still be taken on the device; None to ask for them here.
    """
    kernel = kernels.find(case.kernel)
    reason = kernel.unsupported_reason(case.workload)
    if reason:
        return "unsupported", reason
    needed = static_bytes + kernel.static_bytes(case.workload)
    with suppress(MeasurementError):  # its cell says why its peak is not known
        needed += kernel.peak_bytes(case.workload)
    if available is None:
        available = available_bytes(case.workload.device)
    if needed > available:
        return "skipped", (
            f"needs {format_bytes(needed)} ({needed} bytes), "
            f"{format_bytes(available)} ({available} bytes) available"
        )
    return "ok", ""
