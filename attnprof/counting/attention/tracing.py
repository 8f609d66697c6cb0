"""Find the attention of a call on fake tensors, and count the pairs that its masks let through."""

from __future__ import annotations

from collections.abc import Callable

from attnprof.counting.attention.calls import AttentionCalls


def attention_calls(run: Callable[[], object]) -> AttentionCalls:
    """Every attention of the forward pass of one call, in the order in which it runs.

    Call it inside `fake_mode`, with a module that was built inside the same one:
    `on_fake_tensors_alone(build, lambda call: attention_calls(call.run), "...")`. The backward
    pass, and what a checkpoint runs again in it, is no further attention.

    Args:
        run: does the call.
    """
    raise NotImplementedError
