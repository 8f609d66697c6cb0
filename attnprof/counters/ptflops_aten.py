"""ptflops, backend `aten`: counts operators as torch dispatches them."""

from __future__ import annotations

from attnprof.call import Build
from attnprof.counters._ptflops import complexity
from attnprof.operators.fake import on_fake_tensors

quantity = "ptflops_aten_macs"


def count(build: Build) -> int:
    """MACs as ptflops says."""
    return on_fake_tensors(build, lambda call: complexity(call, "aten"))
