"""How much processes, progress and saving add to a comparison.

    python examples/benchmarks/benchmark_measuring.py

Runs the default comparison with all its files. The overhead is the time in which none of the
functions ran that build, count, time or measure memory, as reported by the worker processes.
"""

from __future__ import annotations

import collections
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attnprof.api.compare import prepare_compare
from attnprof.isolation import forked_worker
from attnprof.isolation.outcome import Outcome
from attnprof.report.run_facts import describe_machine

LIMIT = 0.15


def main() -> None:
    busy_seconds: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    call = forked_worker.ForkedWorker.call

    def watched(
        worker: forked_worker.ForkedWorker,
        function: Callable[..., Any],
        *args: Any,
        max_seconds: float,
    ) -> Outcome:
        outcome = call(worker, function, *args, max_seconds=max_seconds)
        busy_seconds[function.__name__] += outcome.busy_ns / 1e9  # type: ignore[assignment]
        calls[function.__name__] += 1
        return outcome

    forked_worker.ForkedWorker.call = watched  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        formats = {form: str(Path(folder) / f"out.{form}") for form in ("csv", "json", "markdown")}
        begun = time.perf_counter()
        with prepare_compare({**formats}) as request:  # type: ignore[typeddict-item]
            prepared = time.perf_counter()
            busy_seconds.clear()
            calls.clear()
            request.run()
            wall_seconds = time.perf_counter() - prepared
    machine = describe_machine(request.environment.as_dict(), is_on_gpu=False)
    print(f"{machine}\nimports and checks before: {prepared - begun:.1f} s")
    for name, seconds in busy_seconds.items():
        print(f"  {name:12} {calls[name]:5} calls {seconds:7.2f} s")
    around = wall_seconds - sum(busy_seconds.values())
    share = around / wall_seconds
    print(f"around them {around:.2f} s of {wall_seconds:.1f} s: {share:.1%} (limit {LIMIT:.0%})")


if __name__ == "__main__":
    main()
