"""What both backends of ptflops share: the call that a user would make by hand, kept quiet."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, Literal

import torch
from ptflops import get_model_complexity_info

from attnprof.counting.call import Call
from attnprof.counting.fake_tensors import GaveUpError

_UNUSED_SHAPE = (1,)
"""ptflops asks for one, and makes no input of it where it is given a constructor of inputs."""


def complexity(call: Call, backend: Literal["pytorch", "aten"]) -> int:
    """MACs by `get_model_complexity_info`: of the forward pass, which is all that ptflops runs.

    Raises:
        GaveUpError: where ptflops gives up; it prints why, and that is the message.
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
        raise GaveUpError(_reason(printed.getvalue()))
    return int(macs)


def _reason(printed: str) -> str:
    """The exception in what ptflops printed: `<class 'pkg.Error'>: what it says`, in one line."""
    _, _, told = printed.partition("following exception:")
    match = re.match(r"\s*<class '(?:\w+\.)*(\w+)'>: *(.*)", told)
    return f"{match[1]}: {match[2]}".rstrip(": ") if match else "ptflops gave up and said nothing"
