"""What both backends of ptflops share: the call that a user would make by hand, without output."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, Literal

import torch
from ptflops import get_model_complexity_info

from attnprof.counting.call import Call
from attnprof.counting.fake_tensors import CounterFailedError

_UNUSED_SHAPE = (1,)
"""ptflops requires an input shape, but ignores it if it is given an input constructor."""


def complexity(call: Call, backend: Literal["pytorch", "aten"]) -> int:
    """MACs by `get_model_complexity_info`, which runs the forward pass only.

    Raises:
        CounterFailedError: if ptflops fails, with the reason that it prints.
    """
    # ptflops prints warnings and failures to the real stdout, whatever stream it is given.
    printed = io.StringIO()

    def inputs(shape: tuple[int, ...]) -> dict[str, Any]:
        return call.kwargs

    with redirect_stdout(printed), redirect_stderr(printed), torch.no_grad():
        macs, _ = get_model_complexity_info(
            call.module,
            _UNUSED_SHAPE,
            input_constructor=inputs,
            print_per_layer_stat=False,
            as_strings=False,
            ost=printed,
            backend=backend,
        )
    if macs is None:
        raise CounterFailedError(_reason(printed.getvalue()))
    return int(macs)


def _reason(printed: str) -> str:
    """The exception that ptflops prints as `<class 'pkg.Error'>: message`, as `Error: message`."""
    _, _, exception = printed.partition("following exception:")
    match = re.match(r"\s*<class '(?:\w+\.)*(\w+)'>: *(.*)", exception)
    return f"{match[1]}: {match[2]}".rstrip(": ") if match else "ptflops failed without a message"
