"""torch's own `FlopCounterMode` as it comes, in MACs."""

from __future__ import annotations

from torch.utils.flop_counter import FlopCounterMode

from attnprof.call import Build, Call
from attnprof.operators.fake import on_fake_tensors

quantity = "torch_macs"


def count(build: Build) -> int:
    """Half of torch's FLOPs: it counts two for each multiply-accumulate."""
    return on_fake_tensors(build, _count)


def _count(call: Call) -> int:
    with FlopCounterMode(display=False) as counter:
        call.run()
    return counter.get_total_flops() // 2
