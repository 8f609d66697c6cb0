"""The client's side of a Dask cluster: its workers, and what they say."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from uuid import uuid4

from distributed import Client, Future

from attnprof.core.errors import MeasurementError, UsageError, describe_error
from attnprof.core.machine_names import machine_name, numbered
from attnprof.core.typed_json import parse_object, read_as
from attnprof.core.workload import Device
from attnprof.measure import Observer
from attnprof.measure.on_dask import worker_side
from attnprof.measure.on_dask.messages import TOPIC, Greeting, Reply, to_text
from attnprof.measure.on_dask.target import DaskTarget

RESOURCE = "attnprof"
"""The Dask resource of a worker: one case at a time."""

START = f'dask worker SCHEDULER --nthreads 1 --resources "{RESOURCE}=1"'
_REPLY_SECONDS = 10
_SETTLED_SECONDS = 1.0
"""Workers of one machine are used once no other has joined for so long: they share its cores."""
_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class DaskWorker:
    """A worker that may be used.

    Attributes:
        address: of the worker.
        reply: to its greeting.
        sharers: workers on the same machine, this one included.
    """

    address: str
    reply: Reply
    sharers: int


class Cluster:
    """The workers of a scheduler that have the resource and the same versions.

    Args:
        target: as on the command line.
        client: connected to the scheduler.
        greeting: sent to each worker.

    Attributes:
        inbox: what has happened, in order: `("event", text)` from workers, and `("done", attempt)`
            where a task has ended.
        workers: those that may be used, by their addresses.
        refused: why others may not be, by their addresses.
        machines: environments of workers elsewhere, by the names of their machines.
    """

    def __init__(self, target: DaskTarget, client: Client, greeting: Greeting) -> None:
        self.target = target
        self.client = client
        self.greeting = greeting
        self.inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.workers: dict[str, DaskWorker] = {}
        self.refused: dict[str, str] = {}
        self.machines: dict[str, Mapping[str, object]] = {}
        self._devices: Mapping[str, Device] | None = None
        self._warn: Callable[[str], None] = self._warn_later
        self._warnings: list[str] = []
        self._greeted: dict[str, tuple[Future[Any], int]] = {}
        self._warned: set[str] = set()
        self._seen: dict[str, float] = {}
        self._count = 0
        client.subscribe_topic(TOPIC, self._on_event)

    def _on_event(self, event: tuple[float, str]) -> None:
        self.inbox.put(("event", event[1]))

    def submit(self, function: Callable[..., Any], text: str, address: str) -> Future[Any]:
        """Run a function on one worker, once; nothing but text is sent.

        It does not move to another worker if this one is lost.
        """
        self._count += 1
        return self.client.submit(
            function,
            text,
            key=f"attnprof-{self.greeting.run}-{self._count}",
            workers=[address],
            allow_other_workers=False,
            resources={RESOURCE: 1},
            retries=0,
            pure=False,
        )

    def refresh(self) -> list[str]:
        """Greet new workers; the addresses of those that are gone.

        Raises:
            MeasurementError: when the scheduler is gone.
        """
        present = self._present()
        for address in [address for address in self._greeted if address not in present]:
            self._greeted.pop(address)[0].cancel()
        self._read_replies()
        lost = [address for address in self.workers if address not in present]
        for address in lost:
            del self.workers[address]
        usable = [address for address, info in present.items() if _is_usable(info)]
        now = time.monotonic()
        self._seen = {address: self._seen.get(address, now) for address in usable}
        for address in usable:
            neighbours = self._neighbours(present, address)
            sharers = self.target.local_workers or len(neighbours)
            if address in self.workers:
                self.workers[address] = replace(self.workers[address], sharers=sharers)
            elif address not in (*self._greeted, *self.refused) and (
                self.target.local_workers
                or now - max(self._seen[one] for one in neighbours) >= _SETTLED_SECONDS
            ):
                self._greet(address, sharers)
        return lost

    def _neighbours(self, present: Mapping[str, Mapping[str, Any]], address: str) -> list[str]:
        """The workers with the resource on the machine of one of them, itself included."""
        host = present[address].get("host")
        return [one for one in self._seen if present[one].get("host") == host]

    def forget(self, address: str) -> None:
        """The process behind an address is another one now: it will be greeted again."""
        self.workers.pop(address, None)

    def refuse(self, address: str, reason: str) -> None:
        """Use a worker no more."""
        self.workers.pop(address, None)
        self.refused[address] = reason
        if reason not in self._warned:
            self._warned.add(reason)
            self._warn(f"Dask worker {address} is not used: {reason}")

    def warn_with(self, warn: Callable[[str], None]) -> None:
        """Pass on messages about workers that are refused, those so far as well."""
        self._warn = warn
        for message in self._warnings:
            warn(message)
        self._warnings.clear()

    def _warn_later(self, message: str) -> None:
        self._warnings.append(message)

    def machine_of(self, worker: DaskWorker, device: Device) -> str:
        """The name of a worker's machine; empty if all workers are on this machine."""
        if self.target.local_workers:
            return ""
        environment = worker.reply.environment
        base, host = machine_name(environment, device), environment.get("host")
        for number in count(1):
            name = numbered(base, number)
            if name not in self.machines:
                self.machines[name] = environment
            if self.machines[name].get("host") == host:
                return name
        raise AssertionError

    def wait_for_workers(self, observe: Observer, timeout: float) -> None:
        """Wait until all workers that are there have been greeted, and one of them may be used.

        Raises:
            UsageError: when none can be used, or none comes in time.
            MeasurementError: when the scheduler is gone.
        """
        deadline = time.monotonic() + timeout
        while True:
            self.refresh()
            present = self._present()
            is_waiting = any(one not in (*self.workers, *self.refused) for one in self._seen)
            if self.workers and not is_waiting:
                return
            if not is_waiting:
                self._check_usable(present)
            if time.monotonic() > deadline:
                expected = f"no worker joined within {timeout:g} s; start one with {self.start}"
                raise UsageError("dask", self.target.text, expected)
            waits_for = "imports of the workers" if is_waiting else "a Dask worker"
            observe(f"waiting for {waits_for}", 0.0)
            time.sleep(_POLL_SECONDS / 5)

    @property
    def start(self) -> str:
        """How to start a worker by hand."""
        return START.replace("SCHEDULER", self.target.text)

    def leave(self) -> None:
        """End what this run has started on the workers of a scheduler elsewhere."""
        for future, _ in self._greeted.values():
            future.cancel()
        if self.workers and self.client.status == "running":
            with suppress(Exception):  # the scheduler or a worker may go away now
                self.client.run(
                    worker_side.leave, self.greeting.run, workers=[*self.workers], on_error="ignore"
                )

    def lost_message(self) -> str:
        """What to say when the scheduler is gone."""
        return f"the Dask scheduler {self.target.text} is gone"

    def _present(self) -> Mapping[str, Mapping[str, Any]]:
        if self.client.status != "running":
            raise MeasurementError(self.lost_message())
        try:
            return dict(self.client.scheduler_info(n_workers=-1)["workers"])
        except (OSError, TimeoutError, KeyError) as error:
            raise MeasurementError(self.lost_message()) from error

    def refusal(self) -> str:
        """Why no worker that is there may be used; empty if one may be, or none is there.

        Raises:
            MeasurementError: when the scheduler is gone.
        """
        usable = [address for address, info in self._present().items() if _is_usable(info)]
        refusals = [self.refused.get(address, "") for address in usable]
        return refusals[0] if refusals and all(refusals) else ""

    def _check_usable(self, present: Mapping[str, Mapping[str, Any]]) -> None:
        """Refuse a cluster whose workers all lack the resource or were refused.

        Raises:
            UsageError: with how to start a worker, or the first refusal.
        """
        if not present or self.workers:
            return
        if not any(_is_usable(info) for info in present.values()):
            expected = f'its workers lack the resource "{RESOURCE}"; start them with {self.start}'
            raise UsageError("dask", self.target.text, expected)
        refusal = self.refusal()
        if refusal:
            raise UsageError("dask", self.target.text, f"no worker can be used: {refusal}")

    def _greet(self, address: str, sharers: int) -> None:
        greeting = replace(self.greeting, sharers=sharers)
        self._greeted[address] = (
            self.submit(worker_side.greet, to_text(greeting), address),
            sharers,
        )

    def _read_replies(self) -> None:
        for address, (future, sharers) in list(self._greeted.items()):
            if not future.done():
                continue
            del self._greeted[address]
            try:
                reply = read_as(Reply, parse_object(future.result(timeout=_REPLY_SECONDS)))
            except Exception as error:  # as of a worker that has no attnprof, or has just ended
                self.refuse(address, describe_error(error))
                continue
            refusal = reply.refusal or self._other_device(reply)
            if refusal:
                self.refuse(address, refusal)
            else:
                self.workers[address] = DaskWorker(address, reply, sharers)

    def _other_device(self, reply: Reply) -> str:
        """Why a worker does not measure on the devices of the first one; empty if it does."""
        if self._devices is None:
            self._devices = reply.devices
        for name, device in self._devices.items():
            if reply.devices.get(name) != device:
                return f"device {name} is {reply.devices.get(name)} there, and {device} elsewhere"
        return ""


def _is_usable(info: Mapping[str, Any]) -> bool:
    return info.get("resources", {}).get(RESOURCE, 0) >= 1


def new_run() -> str:
    """Identifies a run among those of a scheduler."""
    return uuid4().hex[:12]


def event_of(text: str) -> tuple[str, int, str, Any]:
    """Run, attempt, kind and content of an event."""
    run, attempt, kind, content = json.loads(text)
    return run, attempt, kind, content
