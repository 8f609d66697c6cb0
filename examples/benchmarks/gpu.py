"""attnprof on one GPU, in one command and under eight minutes: its GPU tests, then ratios.

    python examples/benchmarks/gpu.py --json gpu.json
    python examples/benchmarks/gpu.py --cpu-check

The first needs CUDA. The second runs the same code on the CPU, at sizes that show nothing but that
it runs. Parts: the tests that need a GPU; `attnprof compare`, with predicted and measured peaks;
and `sliding_window_attention` in bfloat16 against compiled FlexAttention and fused dense attention,
forward and backward, batch 1, 12 heads of 64, a window of 512. Each part runs in processes with
limits of time: one that fails or hangs is a line, and the next one begins.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gpu_table
from gpu_parts import ON_CPU, ON_GPU, Sizes

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("tests", "compare", "window")
GRACE_SECONDS = 20.0
"""How long a process may go on after its time, to finish the case that it is in."""


SHARES = {"tests": 0.35, "compare": 0.3, "window": 1.0}
"""Share of the time that is left which a part may take."""


@dataclass(slots=True)
class Run:
    """All that has been printed, and the file that it is saved to."""

    sizes: Sizes
    path: Path | None
    deadline: float
    records: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    failures: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    has_heading: bool = False

    def left(self) -> float:
        """Seconds until the end of the whole run."""
        return self.deadline - time.time()

    def add(self, record: dict[str, Any]) -> None:
        """Print a result and save all so far."""
        self.records.append(record)
        if record["part"] == "window" and "seq_len" in record:
            if not self.has_heading:
                print(*gpu_table.heading(), sep="\n", flush=True)
            self.has_heading = True
            self.failures.update(record["failed"].items())
        print(describe(record), flush=True)
        if self.path is not None:
            text = json.dumps({"sizes": asdict(self.sizes), "records": self.records}, indent=1)
            self.path.write_text(text + "\n")

    def part(self, name: str, seconds: float, *arguments: str) -> bool:
        """Run a part in a process of its own; whether it ended well."""
        until = time.time() + seconds
        script = str(Path(__file__).with_name("gpu_parts.py"))
        command = [sys.executable, "-W", "ignore", script, name, "--until", str(until), *arguments]
        if self.sizes.device == "cpu":
            command.append("--cpu-check")
        code = None
        for line in lines_of(command, seconds + GRACE_SECONDS):
            if isinstance(line, int):
                code = line
            elif line.startswith("{"):
                self.add(json.loads(line))
            else:
                print(f"  {line}", flush=True)
        if code != 0:
            self.add({"part": name, "failed": {"all": f"its process ended with {code}"}})
        return code == 0

    def end_table(self) -> None:
        """Print why cases failed, each reason once."""
        for line in gpu_table.reasons(self.failures):
            print(line, flush=True)

    def tests(self, seconds: float) -> bool:
        """Run the tests that need a GPU; whether all passed."""
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", *self.sizes.tests]
        last, code = "", None
        for line in lines_of(command, seconds):
            if isinstance(line, int):
                code = line
            elif line.strip():
                last = line
                if line.startswith(("FAILED", "ERROR")):
                    print(f"  {line}", flush=True)
        self.add({"part": "tests", "passed": code == 0, "result": last if code != -9 else "killed"})
        return code == 0


def lines_of(command: Sequence[str], seconds: float) -> Iterator[str | int]:
    """What a process prints, and its exit code at the end; it is killed after that many seconds."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    killer = threading.Timer(max(1.0, seconds), process.kill)
    killer.start()
    try:
        for line in process.stdout:
            yield line.rstrip()
        yield process.wait()
    finally:
        killer.cancel()
        process.kill()


def describe(record: dict[str, Any]) -> str:
    """A result as a line."""
    from attnprof.core.units import format_bytes, format_duration

    part, failed = record["part"], record.get("failed", {})
    failures = "".join(f"; {name} failed: {why}" for name, why in failed.items())
    if part == "tests":
        return f"GPU tests: {'passed' if record['passed'] else 'FAILED'}: {record['result']}"
    if "kernel" in record:
        shown = f"{record['kernel']} {record['seq_len']:,}: {record['status']}"
        if record["time_ns"] is None:
            return textwrap.shorten(f"{shown} {record['detail'] or ''}", gpu_table.WIDTH)
        if record["speedup"] is not None:
            shown += f", {record['speedup']:.2f}x sdpa"
        ratio = record["predicted_peak_bytes"] / record["peak_bytes"]
        peak = format_bytes(record["peak_bytes"])
        return f"{shown}, {format_duration(record['time_ns'])}, peak {peak}, predicted {ratio:.3f}x"
    if "seq_len" not in record:
        return f"{part}{failures}"
    return gpu_table.row(record)


def run_all(run: Run, parts: Sequence[str]) -> bool:
    """Run the parts in turn; whether the tests passed."""
    passed = True
    for part in parts:
        seconds = max(1.0, SHARES[part] * (run.left() - GRACE_SECONDS))
        if part == "tests":
            passed = run.tests(seconds)
        elif part == "compare":
            run.part("compare", seconds)
        else:
            for index, seq_len in enumerate(run.sizes.lengths):
                share = (run.left() - GRACE_SECONDS) / (len(run.sizes.lengths) - index)
                begun = time.time()
                if not run.part("window", share, "--len", str(seq_len)):
                    rest = share - (time.time() - begun)
                    run.part("window", max(1.0, rest), "--len", str(seq_len), "--without", "triton")
            run.end_table()
    return passed


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="PATH", help="save all results here")
    parser.add_argument("--max-minutes", type=float, default=7.5, help="for everything together")
    parser.add_argument("--cpu-check", action="store_true", help="tiny sizes, on the CPU")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    return parser.parse_args()


def main() -> int:
    arguments = read_arguments()
    sizes = ON_CPU if arguments.cpu_check else ON_GPU

    import torch

    from attnprof.measure import environment
    from attnprof.report.run_facts import describe_machine

    if sizes.device == "cuda" and not torch.cuda.is_available():
        print("torch finds no CUDA device; --cpu-check runs this on the CPU", file=sys.stderr)
        return 2
    run = Run(sizes, arguments.json, time.time() + 60 * arguments.max_minutes)
    known = environment.capture().as_dict()
    machine = describe_machine(known, is_on_gpu=sizes.device == "cuda")
    print(textwrap.fill(machine, gpu_table.WIDTH), flush=True)
    if importlib.util.find_spec("triton") is None:
        print("Triton is not installed, so its kernel is left out: pip install 'attnprof[triton]'")
    return 0 if run_all(run, arguments.parts) else 1


if __name__ == "__main__":
    sys.exit(main())
