"""Connects to a Dask scheduler, or starts one with workers on this machine."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

from distributed import Client, Scheduler
from distributed.deploy.spec import SpecCluster
from distributed.deploy.subprocess import SubprocessWorker

from attnprof.core.errors import UsageError, describe_error
from attnprof.measure.on_dask.cluster import RESOURCE, Cluster
from attnprof.measure.on_dask.messages import Greeting
from attnprof.measure.on_dask.target import DaskTarget

_CONNECT_SECONDS = 10
_START_SECONDS = 60

_LOGGERS = ("distributed", "distributed.client")
"""Those that Dask gives a level of their own."""


@contextmanager
def open_cluster(
    target: DaskTarget, greeting: Greeting, gpus: Sequence[str] = ()
) -> Generator[Cluster]:
    """Connect to a scheduler, or start workers on this machine; all of them end with the context.

    Args:
        target: as on the command line.
        greeting: sent to each worker.
        gpus: of this machine, of which each local worker gets one; empty where it has none.

    Raises:
        UsageError: when there is no scheduler at the address.
    """
    with ExitStack() as stack:
        stack.enter_context(_silenced())
        address: Any = target.text
        if target.local_workers:
            address = stack.enter_context(_local_cluster(target.local_workers, gpus))
            greeting = replace(greeting, search_path=tuple(map(str, sys.path)))
        client = stack.enter_context(_connected(address, target))
        cluster = Cluster(target, client, greeting)
        try:
            yield cluster
        finally:
            if not target.local_workers:
                cluster.leave()


@contextmanager
def _silenced() -> Generator[None]:
    """Dask's own messages are not shown: what matters is said in our words."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="distributed")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def _connected(address: Any, target: DaskTarget) -> Generator[Client]:
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        reason = f"no scheduler answers there ({describe_error(error)})"
        raise UsageError("dask", target.text, reason) from error
    try:
        yield client
    finally:
        with suppress(Exception):  # the scheduler may be gone
            client.close(timeout=_CONNECT_SECONDS)


@contextmanager
def _local_cluster(workers: int, gpus: Sequence[str]) -> Generator[SpecCluster]:
    """A scheduler in this process, and workers on this machine in processes of their own."""
    spec = {
        index: {"cls": _LocalWorker, "options": {"worker_kwargs": _local_options(index, gpus)}}
        for index in range(workers)
    }
    scheduler = {
        "cls": Scheduler,
        "options": {"host": "127.0.0.1", "port": 0, "dashboard": False},
    }
    silence: Any = logging.CRITICAL  # a level, or False for none
    cluster = SpecCluster(workers=spec, scheduler=scheduler, silence_logs=silence, name="attnprof")
    try:
        yield cluster
    finally:
        with suppress(Exception):
            cluster.close(timeout=_CONNECT_SECONDS)


def _local_options(index: int, gpus: Sequence[str]) -> dict[str, Any]:
    """Options of the Dask worker with this number."""
    return {
        "host": "127.0.0.1",
        "nthreads": 1,
        "resources": {RESOURCE: 1},
        "memory_limit": 0,  # a case that takes too much memory is a row
        "dashboard": False,
        "silence_logs": logging.CRITICAL,
        "death_timeout": _START_SECONDS,
        "env": {"CUDA_VISIBLE_DEVICES": gpus[index]} if gpus else {},
    }


class _LocalWorker(SubprocessWorker):
    """A Dask worker on this machine, restarted when it dies. Its own messages are not shown.

    Unlike those of `LocalCluster` it is no child of `multiprocessing`, which would run the main
    script once more.
    """

    async def _start(self) -> None:
        spec = json.dumps({"cls": self.worker_class, "opts": self.worker_kwargs})
        self.process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "dask", "spec", self.scheduler, "--spec", spec],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in a terminal interrupts only the client
        )
