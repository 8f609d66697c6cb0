"""attnprof from Python: patterns, closed forms at any length, real kernels, and pandas.

python examples/python_api.py
"""

from __future__ import annotations

import attnprof
from attnprof import AttentionPattern, Workload
from attnprof.core.formulas import useful_macs
from attnprof.core.units import format_bytes, format_macs


def main() -> None:
    # A pattern: 12 heads, two of them dilated by 4; [CLS] and a question's 20 tokens are global.
    pattern = AttentionPattern.sliding(
        window=512, dilation=[1] * 10 + [4] * 2, global_positions=range(21)
    )
    for seq_len in (4096, 65_536, 10_000_000):
        sparse = useful_macs(Workload(pattern, seq_len))
        dense = useful_macs(Workload(pattern, seq_len).densified())
        print(
            f"{seq_len:>10,} tokens: {format_macs(sparse):>11} useful, {dense / sparse:8.1f}x less"
            " than dense"
        )

    # Closed forms for whole grids, without torch.
    table = attnprof.estimate(len="4k:64k:x2", kernel=["bert-sdpa", "longformer-hf"])
    for row in table.rows:
        peak = format_bytes(int(row.values["predicted_peak_bytes"]))
        print(f"{row.workload.seq_len:>10,} tokens: {row.kernel:14} {peak:>9} peak memory")

    # Real kernels: MACs, time and memory, as a pandas frame.
    measured = attnprof.compare(
        len=[256, 512],
        window=128,
        kernel=["bert-sdpa", "longformer-hf", "longformer-masked"],
        max_seconds=0.2,
    )
    frame = measured.to_pandas()
    frame["coverage"] = frame["ptflops_pytorch_macs"] / frame["executed_macs"]
    print(frame[["seq_len", "kernel", "executed_macs", "coverage", "peak_bytes", "speedup"]])


if __name__ == "__main__":
    main()
