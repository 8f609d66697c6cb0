"""What all custom kernels have in common with one another, whichever process they run in."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from attnprof.core.mac_terms import MacTerm
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload


class CustomKernelTraits:
    """The attributes of `Kernel` that are the same for every custom kernel."""

    pattern_support: Literal["dense", "pattern", "custom"] = "custom"
    source: str = "counted, operator by operator"
    ptflops_misses: str = ""
    needs_compilation: bool = False
    has_float32_softmax: bool = False

    def mac_terms(self, workload: Workload) -> tuple[MacTerm, ...]:
        """Empty: its MACs are counted, not in closed form."""
        return ()

    def padding_multiple(self, workload: Workload) -> int:
        """1: attnprof passes inputs of exactly `seq_len` tokens."""
        return 1

    def adapt_workload(self, workload: Workload) -> Workload:
        """The workload that it runs: no pattern and no scope of attnprof's apply to it."""
        is_decoding = workload.mode == "decode"
        pattern = AttentionPattern.dense(workload.num_heads, causal=is_decoding)
        return replace(workload, pattern=pattern, scope="attention")
