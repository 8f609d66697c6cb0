"""Arguments of custom kernels: inputs as described, or guessed from their names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from attnprof.core.errors import UsageError, suggest
from attnprof.core.workload import Workload
from attnprof.kernels.custom.input_layout import Layout
from attnprof.kernels.custom.inputs import InputSpec, ids, states
from attnprof.kernels.custom.modules import required, signature_of

IDS = ("input_ids", "tokens", "ids")
"""Names of inputs that are token ids."""

STATES = ("hidden_states", "x", "inputs", "input", "src", "query", "key", "value")
"""Names of inputs that are hidden states."""

NO_SIGNATURE = "has no readable signature: wrap it in a function with named arguments"


class Arguments:
    """The inputs of one custom kernel.

    Args:
        name: its reference, for errors.
        described: descriptions of its inputs.
    """

    def __init__(self, name: str, described: tuple[InputSpec, ...]) -> None:
        self._name = name
        self.described = {spec.name: spec for spec in described}

    def specs(self, function: Any, layout: Callable[[], Layout]) -> list[InputSpec]:
        """All inputs that were described or are required, the latter guessed from their names.

        Args:
            function: takes them.
            layout: finds the order of their dimensions, where it was not described.

        Raises:
            UsageError: when a required input is neither described nor has a known name.
        """
        try:
            parameters = signature_of(function)
        except (TypeError, ValueError):
            raise UsageError("kernel", self._name, NO_SIGNATURE) from None
        self._check_names(parameters)
        # Arguments that are passed by position keep the order of the signature.
        order = list(parameters)
        names = sorted(
            {*required(parameters), *self.described},
            key=lambda name: order.index(name) if name in order else len(order),
        )
        if not names:
            raise UsageError(
                "kernel",
                self._name,
                "its signature does not show its inputs: describe them with --input NAME=DIMS",
            )
        return [self._spec(name, layout) for name in names]

    def _check_names(self, parameters: Mapping[str, inspect.Parameter]) -> None:
        """Check that every described input is a parameter.

        Raises:
            UsageError: when one is not; suggests a similar name.
        """
        takes_any = any(
            p.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
            for p in parameters.values()
        )
        for name in self.described:
            if name not in parameters and not takes_any:
                raise UsageError(
                    "kernel", self._name, f"has no argument {name}; {suggest(name, parameters)}"
                )

    def _spec(self, name: str, layout: Callable[[], Layout]) -> InputSpec:
        if name in self.described:
            return self.described[name]
        if name in IDS:
            return ids(name, is_batch_first=layout().is_batch_first)
        if name in STATES:
            return states(name, is_batch_first=layout().is_batch_first)
        raise UsageError(
            "kernel",
            self._name,
            f"its argument {name} is unknown: describe it with "
            f"--input {name}=DIMS, such as {name}=batch,len,hidden",
        )


def tensors(specs: list[InputSpec], function: Any, workload: Workload) -> dict[str, Any]:
    """The inputs of a call, by name, with shapes and types as described."""
    high = _vocabulary_size(function)
    return {spec.name: spec.tensor(workload, high) for spec in specs}


def _vocabulary_size(function: Any) -> int:
    """The size of the smallest embedding table: token ids below it are valid in all; else 2."""
    modules = function.modules() if isinstance(function, nn.Module) else ()
    sizes = [module.num_embeddings for module in modules if isinstance(module, nn.Embedding)]
    return min(sizes, default=2)
