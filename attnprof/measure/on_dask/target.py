"""Which Dask cluster a run is measured on."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass

from attnprof.core.cpu import usable_cores
from attnprof.core.errors import UsageError

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


def read_dask_target(value: object) -> DaskTarget | None:
    """The value of `dask`: `local:N`, or the address of a scheduler; None if it is not given.

    Raises:
        UsageError: for anything else, for more workers than cores, and if dask.distributed is not
            installed.
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
    if workers > cores:
        raise UsageError("dask", text, f"must be at most local:{cores} here, one worker a core")
    return DaskTarget(text, workers)
