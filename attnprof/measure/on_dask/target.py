"""Which Dask cluster a run is measured on."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass

from attnprof.core.cpu import usable_cores
from attnprof.core.errors import UsageError
from attnprof.core.units import counted

_LOCAL = re.compile(r"local:(\d+)")
_ADDRESS = re.compile(r"(?:tcp|tls)://\S+:\d+")
_FORMS = "must be local:N, or the address of a scheduler such as tcp://host:8786 or tls://host:8786"


@dataclass(frozen=True, slots=True)
class DaskTarget:
    """A scheduler, or workers on this machine.

    Attributes:
        text: as on the command line.
        local_workers: how many workers to start on this machine; 0 with a scheduler elsewhere.
    """

    text: str
    local_workers: int = 0

    @property
    def threads(self) -> int:
        """Threads of each local worker: its part of the cores; 0 with a scheduler elsewhere."""
        return max(1, usable_cores() // self.local_workers) if self.local_workers else 0


def read_dask_target(value: object, *, has_times: bool) -> DaskTarget | None:
    """The value of `dask`; None if it is not given.

    Args:
        value: `local:N`, or the address of a scheduler.
        has_times: whether times are measured.

    Raises:
        UsageError: for anything else, and if dask.distributed is not installed.
    """
    if value is None:
        return None
    text = str(value)
    local = _LOCAL.fullmatch(text)
    if local is None and not _ADDRESS.fullmatch(text):
        raise UsageError("dask", text or "(empty)", _FORMS)
    if importlib.util.find_spec("distributed") is None:
        raise UsageError("dask", text, "needs dask.distributed: pip install 'attnprof[dask]'")
    if local is None:
        return DaskTarget(text)
    workers, cores = int(local[1]), usable_cores()
    if not workers:
        raise UsageError("dask", text, "must be at least local:1")
    if workers > cores and has_times:
        here = counted(cores, "usable core")
        expected = f"times need a core for each worker, and there are {here}; or add --no-time"
        raise UsageError("dask", text, expected)
    return DaskTarget(text, workers)
