"""What counting costs: time and memory, with limits, for large models, lengths and layers.

    python examples/benchmarks/benchmark_counting.py

Times and resident sets are those of fresh processes, imports included where the output says so.
The overhead is a ratio of runs that alternate in one process.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from attnprof.core.intervals import paired_ratio

ATTNPROF = str(Path(sys.executable).parent / "attnprof")
ROUNDS = 15

TEN_MILLION = """
import sys, time
from attnprof import AttentionPattern, Workload, kernels
from attnprof.counting.allocations import peak_bytes
from attnprof.counting.fake_tensors import fake_mode
from attnprof.counting.operator_counts import count_operators
kernel = kernels.find(sys.argv[1])
is_dense = kernel.pattern_support == "dense"
pattern = AttentionPattern.dense() if is_dense else AttentionPattern.sliding(512, 1, (0,))

def measure(n):
    workload = Workload(pattern, n)
    with fake_mode():
        counts = count_operators(kernel.build(workload).run)
    assert counts.complete_macs == kernel.executed_macs(workload)
    with fake_mode():
        return counts.macs, peak_bytes(kernel.build(workload).run)

measure(1024)  # triggers lazy imports
begun = time.perf_counter()
macs, peak = measure(10_000_384)
print(time.perf_counter() - begun, macs, peak)
"""


def measured(command: list[str], folder: str = ".") -> tuple[float, float, str]:
    """Run a command: its seconds, its largest resident set in GiB, and its output."""
    begun = time.perf_counter()
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - begun, usage.ru_maxrss / 2**20, printed


def overhead() -> str:
    """How much longer a layer takes while its operators are counted."""
    import torch
    from transformers import BertConfig
    from transformers.models.bert.modeling_bert import BertLayer

    from attnprof.counting.operator_counts import count_operators

    config = BertConfig()
    config._attn_implementation = "sdpa"
    layer, hidden = BertLayer(config).eval(), torch.randn(1, 1024, 768)

    def plain() -> None:
        with torch.no_grad():
            layer(hidden)

    runs = {"plain": plain, "counted": lambda: count_operators(plain)}
    times: dict[str, list[int]] = {name: [] for name in runs}
    for number in range(ROUNDS + 1):
        for name in random.sample(list(runs), len(runs)):
            begun = time.perf_counter_ns()
            runs[name]()
            if number:  # the first round warms up
                times[name].append(time.perf_counter_ns() - begun)
    ratio = paired_ratio(times["counted"], times["plain"])
    return f"{ratio.median:.2f}x (99 % interval {ratio.low:.2f} to {ratio.high:.2f}; limit 1.2x)"


def main() -> None:
    """Measure, and print each figure beside its limit."""
    from transformers import LlamaConfig

    with tempfile.TemporaryDirectory() as folder:
        LlamaConfig().save_pretrained(folder)
        seconds, gib, _ = measured(
            [ATTNPROF, "breakdown", "--kernel", "./", "--len", "8k", "--csv", "-"], folder
        )
    print("LlamaConfig(), 6.6 billion parameters, 8,192 tokens, imports included:")
    print(f"  {seconds:.1f} s (limit 15 s), {gib:.2f} GiB (limit 2 GiB)")
    print("10,000,384 tokens, MACs and peak memory, on fake tensors:")
    for name in ("bert-eager", "bert-sdpa", "longformer-hf", "longformer-banded"):
        _, gib, printed = measured([sys.executable, "-c", TEN_MILLION, name])
        elapsed, macs, peak = printed.split()
        print(
            f"  {name:18} {float(elapsed):.2f} s (limit 1 s), {gib:.2f} GiB (limit 1 GiB): "
            f"{int(macs):,} MACs, {int(peak):,} bytes"
        )
    print("a BERT-base layer at 1,024 tokens, its operators counted / plain:")
    print(f"  {overhead()}")
    seconds, *_ = measured([ATTNPROF, "audit", "--no-peers", "--len", "512", "1024", "--csv", "-"])
    print("attnprof audit of all kernels at 512 and 1,024, imports included:")
    print(f"  {seconds:.1f} s (limit 30 s)")


if __name__ == "__main__":
    main()
