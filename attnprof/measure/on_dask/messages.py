"""What the client and the workers send each other: plain data as JSON, nothing pickled by value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from attnprof.core.machine import Machine
from attnprof.core.mask_pattern import MaskPattern, mask_layers
from attnprof.core.pattern import AttentionPattern
from attnprof.core.pattern_stack import AttentionStack
from attnprof.core.record_lines import identity_of
from attnprof.core.records import Record, Status, Value
from attnprof.core.saved_masks import SavedMask
from attnprof.core.saved_workload import SavedWorkload
from attnprof.core.typed_json import read_as
from attnprof.core.workload import Case, Device, Workload
from attnprof.kernels.custom.mask_function import parse_mask_function
from attnprof.measure.single_case import MeasureSettings

TOPIC = "attnprof"
"""The Dask topic of all events. It is one for all runs: a scheduler keeps the last events of each
topic for as long as it runs."""

STARTED = "started"
FINISHED = "finished"
STALE = "stale"
REFUSED = "refused"
LOST = "lost"
"""Kinds of events, each `[run, attempt, kind, content]`: a case begins, `[its number, whether it is
timed]`; all records were sent, their count; the task was meant for another process; the worker
cannot measure the group, the reason; the client has noticed that the worker is gone."""

RECORDS = "records"
"""The kind of an event with records: `[the number of the first, records]`."""

IN_ROUNDS = -1
"""The case of an event when all cases of a group are called in turn."""

WireRecord = list[Any]
"""A record: the number of its case in the group, quantity, value, status and detail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What must be the same where results are compared.

    Attributes:
        python: its version.
        packages: versions by name.
        source: SHA-256 of the source files of attnprof.
    """

    python: str
    packages: Mapping[str, str]
    source: str

    def differences(self, other: Versions) -> list[str]:
        """What differs, as `torch 2.12.0 (here 2.13.0)`; `other` is here."""
        pairs = {"Python": (self.python, other.python)}
        for name in dict.fromkeys([*self.packages, *other.packages]):
            pairs[name] = (
                self.packages.get(name, "not installed"),
                other.packages.get(name, "not installed"),
            )
        found = [
            f"{name} {there} (here {here})"
            for name, (there, here) in pairs.items()
            if there != here
        ]
        if self.source != other.source and not any(text.startswith("attnprof ") for text in found):
            found.append("other source files of attnprof")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What a worker process needs before its first group.

    Attributes:
        run: identifies the run.
        versions: of the client.
        allows_other_versions: whether those of the worker may differ.
        kernels: names of all kernels.
        device_names: any of `auto`, `cpu` and `cuda`.
        threads: that the CPU computes with; 0 for an equal part of the worker's cores.
        sharers: workers on the same machine, this one included.
        timeout: seconds that one reply of a custom kernel may take.
        search_path: folders that the client imports from, if the worker is on its machine.
    """

    run: str
    versions: Versions
    allows_other_versions: bool
    kernels: tuple[str, ...]
    device_names: tuple[str, ...]
    threads: int
    sharers: int = 1
    timeout: float
    search_path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A worker's answer to a greeting.

    Attributes:
        refusal: why it cannot be used; empty if it can.
        token: identifies the process; every group that is sent to it has to name it.
        devices: that names of devices stand for.
        environment: of the worker, by name.
        available_bytes: that a call could allocate on the device.
    """

    refusal: str = ""
    token: str = ""
    devices: Mapping[str, Device] = field(default_factory=dict[str, Device])
    environment: Mapping[str, object] = field(default_factory=dict[str, object])
    available_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTask:
    """One group of cases for one worker.

    Attributes:
        run: identifies the run.
        attempt: identifies this attempt to measure the group.
        token: of the worker process that it is meant for.
        cases: as `case_data` has them.
        settings: what to measure.
        known: records that need not be measured again.
        machine: stored machine for predictions; None for none.
        sources: digests of the sources of custom kernels on the client, by name.
        masks: digest of the sources of users' mask functions; empty without any.
        is_careful: whether each call of the timed rounds is announced: a worker died in them.
    """

    run: str
    attempt: int
    token: str
    cases: tuple[Mapping[str, object], ...]
    settings: MeasureSettings
    known: tuple[object, ...] = ()
    machine: Machine | None = None
    sources: Mapping[str, str]
    masks: str
    is_careful: bool = False


def to_text(message: Greeting | Reply | GroupTask) -> str:
    """A message as JSON."""
    return json.dumps(asdict(message), ensure_ascii=False)


def case_data(case: Case) -> dict[str, object]:
    """A case as plain data; `read_case` reads it."""
    layers = mask_layers(case.workload.pattern)
    data: dict[str, object] = dict(identity_of(case.kernel, case.workload))
    return data | {"depends_on_head": any(layer.depends_on_head for layer in layers)}


def saved_case(data: Mapping[str, object]) -> Case:
    """The case that `case_data` wrote, whose mask functions need not exist here."""
    saved = read_as(SavedWorkload, data)
    mask = SavedMask(depends_on_head=read_as(bool, data["depends_on_head"]))
    workload = saved.workload({saved.pattern: mask} if saved.pattern else {})
    return Case(read_as(str, data["kernel"]), workload)


def read_case(data: Mapping[str, object]) -> Case:
    """The case that `case_data` wrote. The code of a user's mask function is imported by its name.

    Raises:
        UsageError: for a mask function that does not exist here.
    """
    case = saved_case(data)
    return replace(case, workload=_with_live_masks(case.workload))


def _with_live_masks(workload: Workload) -> Workload:
    """The workload with mask functions that can be evaluated."""
    if not mask_layers(workload.pattern):
        return workload
    layers = tuple(_live(layer) for layer in workload.layers)
    pattern = layers[0] if len(layers) == 1 else AttentionStack(layers=layers)
    return replace(workload, pattern=pattern)


def _live(layer: AttentionPattern) -> AttentionPattern:
    if not isinstance(layer, MaskPattern):
        return layer
    return replace(layer, function=parse_mask_function(layer.function.text))


def wire_record(index: int, record: Record) -> WireRecord:
    """A record of the case with this number, as plain data."""
    return [index, record.quantity, record.value, record.status, record.detail]


def read_wire_record(data: object, cases: Sequence[Case]) -> Record:
    """The record of one of these cases that `wire_record` wrote."""
    index, quantity, value, status, detail = _fields(data)
    case = cases[index]
    return Record(case.kernel, case.workload, quantity, value, status, detail)


def _fields(data: Any) -> tuple[int, str, Value | None, Status, str]:
    index, quantity, value, status, detail = data
    return index, quantity, value, status, detail
