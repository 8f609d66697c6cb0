"""What the masks of a custom kernel hide of its attention, counted on fake tensors."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from attnprof.core.errors import MeasurementError
from attnprof.core.workload import Workload

if TYPE_CHECKING:
    from attnprof.counting.attention.calls import AttentionCalls
    from attnprof.counting.call import Call


class Builds(Protocol):
    """What makes a call."""

    def build(self, workload: Workload) -> Call:
        """A fresh module with its inputs."""
        ...


def forward_of(workload: Workload) -> Workload:
    """The forward pass alone of a training step; any other call as it is."""
    return replace(workload, mode="inference") if workload.mode == "training" else workload


def count_hidden(kernel: Builds, workload: Workload) -> dict[str, int]:
    """MACs of scores and context of pairs that masks hide in a forward pass, by module.

    Raises:
        MeasurementError: when the call does not run on fake tensors, a mask depends on data, or
            attention could not be followed.
    """
    from attnprof.counting.attention.tracing import attention_calls
    from attnprof.counting.fake_tensors import on_fake_tensors_alone

    attention = on_fake_tensors_alone(
        lambda: kernel.build(workload),
        lambda call: attention_calls(call.run),
        unknown="what its masks let through",
    )
    return _hidden_macs(attention)


def _hidden_macs(attention: AttentionCalls) -> dict[str, int]:
    if attention.unrecognised:
        raise MeasurementError(f"attention was not followed: {attention.unrecognised[0]}")
    hidden: Counter[str] = Counter()
    for call in attention.calls:
        useful = call.useful_macs
        if useful is None:
            place = f" ({call.module_path})" if call.module_path else ""
            raise MeasurementError(f"{call.unknown}{place}")
        hidden[call.module_path] += call.executed_macs - useful
    return dict(hidden)
