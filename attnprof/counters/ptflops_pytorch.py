"""ptflops, backend `pytorch`: hooks on modules, patches on torch's functions. Its default."""

from __future__ import annotations

from attnprof.call import Build
from attnprof.counters._ptflops import complexity

quantity = "ptflops_pytorch_macs"


def count(build: Build) -> int:
    """MACs as ptflops says, on real tensors: fake ones run Python code that it would count too."""
    return complexity(build(), "pytorch")
