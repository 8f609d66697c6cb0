"""Mask functions of users: `pkg.mod:mask_mod`, or `pkg.mod:make_mask:chunk=512` that makes one."""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnprof.core.built_in_mask import (
    SIZES,
    Arguments,
    format_argument,
    format_mask_function,
    parse_arguments,
    parse_built_in,
)
from attnprof.core.errors import AttnprofError, UsageError, code_under_test, describe_error, suggest
from attnprof.core.mask_counts import MAX_PAIRS, mask_blocks, too_long
from attnprof.core.mask_function import MaskFunction
from attnprof.core.mask_pattern import MaskPattern, mask_layers
from attnprof.core.masks import MaskMod, names
from attnprof.core.workload import Case
from attnprof.kernels.custom.import_path import importable_name

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

_REFERENCE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_POSITIONS = 4
"""Arguments of a mask: batch, head, query and key."""

_SIGNATURE = (
    "must be mask(batch, head, query, key), or a function that makes one from whole numbers"
)
_PROBED_BATCH = 8
"""Tokens of the sequences whose masks are compared with one another."""


@dataclass(frozen=True, slots=True)
class UserMask:
    """A mask function in a Python module, in FlexAttention's signature, or one that makes it.

    It is evaluated as FlexAttention evaluates it: for single positions, vectorised by `torch.vmap`.

    Attributes:
        reference: `pkg.mod:name`.
        arguments: what it is called with to make a mask.
    """

    reference: str
    arguments: Arguments = ()

    @property
    def text(self) -> str:
        """As `--pattern` takes it."""
        return format_mask_function(self.reference, self.arguments)

    @property
    def is_known(self) -> bool:
        """True: it can be evaluated."""
        return True

    def attended(
        self, seq_len: int, num_heads: int, queries: NDArray[np.int64], keys: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Bool `(num_heads or 1, queries, keys)`.

        Raises:
            UsageError: when it is no mask function, or raises an exception.
        """
        import torch

        with _user_code(self), _plain_tensors():
            mask = self._evaluated(
                _made(self, seq_len, num_heads),
                torch.arange(1),
                torch.arange(num_heads),
                torch.from_numpy(queries),
                torch.from_numpy(keys),
            )[0]
            # What does not depend on the head is expanded to all heads, without a copy.
            return (mask if mask.stride(0) else mask[:1]).numpy()

    def mask_mod(self, seq_len: int, num_heads: int, as_table: Callable[[Any], Any]) -> MaskMod:
        """The function itself; tensors that it makes are on the default device."""
        with _user_code(self):
            return self._make(seq_len, num_heads)

    def depends_on_batch(self, seq_len: int, num_heads: int, batch_size: int) -> bool:
        """Whether the sequences of a batch differ, at the first and last tokens."""
        import torch

        with _user_code(self), _plain_tensors():
            ends = torch.arange(seq_len)[[*range(min(_PROBED_BATCH, seq_len)), -1]]
            mask = self._evaluated(
                _made(self, seq_len, num_heads),
                torch.arange(batch_size),
                torch.arange(num_heads),
                ends,
                ends,
            )
            return mask.stride(0) != 0

    def _evaluated(self, function: MaskMod, *positions: torch.Tensor) -> torch.Tensor:
        """Bool `(batch, heads, queries, keys)`."""
        import torch
        from torch.nn.attention.flex_attention import _vmap_for_bhqkv

        vectorised = _vmap_for_bhqkv(function, prefix=())
        mask: torch.Tensor
        try:
            mask = vectorised(*positions)
        except RuntimeError:
            # Some indexing of tensors needs torch's compiler, whose import takes seconds.
            from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex

            with TransformGetItemToIndex():
                mask = vectorised(*positions)
        if mask.dtype != torch.bool:
            name = str(mask.dtype).removeprefix("torch.")
            raise UsageError("pattern", self.text, f"returns {name}; must return bool")
        return mask

    def _make(self, seq_len: int, num_heads: int) -> MaskMod:
        """The mask; the function itself, or what it makes."""
        function = _loaded(self)
        required, named = _parameters(self, function)
        sizes = {"seq_len": seq_len, "num_heads": num_heads}
        given = dict(self.arguments)
        for name, value in given.items():
            if named is not None and name not in named:
                choices = [known for known in named if known not in SIZES]
                hint = suggest(name, choices) if choices else "it has no parameters"
                shown = f"{name}={format_argument(value)}"
                raise UsageError("pattern", self.text, f"takes no {shown}; {hint}")
        if len([name for name in required if name not in given]) == _POSITIONS:
            return partial(function, **given) if given else function
        passed = {name: size for name, size in sizes.items() if named is None or name in named}
        missing = [name for name in required if name not in {**passed, **given}]
        if missing:
            expected = f"needs {', '.join(missing)}; {_SIGNATURE}"
            raise UsageError("pattern", self.text, expected)
        made: Any = function(**{**passed, **given})
        if not callable(made):
            raise UsageError("pattern", self.text, f"makes {type(made).__name__}; {_SIGNATURE}")
        return made


@lru_cache(maxsize=8)
def _made(function: UserMask, seq_len: int, num_heads: int) -> MaskMod:
    return function._make(seq_len, num_heads)


def _loaded(function: UserMask) -> Callable[..., Any]:
    """The object that the reference names."""
    from attnprof.kernels.custom.python_object import load_object
    from attnprof.kernels.custom.reference import parse_reference

    try:
        loaded = load_object(parse_reference(function.reference))
    except UsageError as error:
        raise UsageError("pattern", function.text, error.expected) from error
    if not callable(loaded):
        raise UsageError("pattern", function.text, f"is {type(loaded).__name__}; {_SIGNATURE}")
    return loaded


def _parameters(
    function: UserMask, loaded: Callable[..., Any]
) -> tuple[list[str], Mapping[str, Any] | None]:
    """Names of parameters without a default, and all that may be named; None if any may be."""
    try:
        parameters = inspect.signature(loaded).parameters
    except (TypeError, ValueError):
        raise UsageError("pattern", function.text, f"has no signature; {_SIGNATURE}") from None
    kinds = {parameter.kind for parameter in parameters.values()}
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return ["batch", "head", "query", "key"], None
    required = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and parameter.kind != parameter.VAR_KEYWORD
    ]
    return required, None if inspect.Parameter.VAR_KEYWORD in kinds else parameters


@contextmanager
def _user_code(function: UserMask) -> Generator[None]:
    """Turn what user code raises into a usage error, and send what it prints to stderr."""
    try:
        with code_under_test():
            yield
    except UsageError:
        raise
    except Exception as error:
        raised = describe_error(error)
        raise UsageError("pattern", function.text, f"fails: {raised}") from error


@contextmanager
def _plain_tensors() -> Generator[None]:
    """Tensors on the CPU without gradients, also where fake ones are made."""
    import torch
    from torch.utils._python_dispatch import _disable_current_modes

    with _disable_current_modes(), torch.device("cpu"), torch.no_grad():
        yield


def parse_mask_function(value: object) -> MaskFunction:
    """The mask function that one value of `--pattern` names.

    Args:
        value: its text; in Python also a function that other processes can import.

    Raises:
        UsageError: when it names none.
    """
    if not isinstance(value, str):
        text = importable_name(value) if callable(value) else ""
        if not text:
            shown = getattr(value, "__qualname__", repr(value))
            expected = "must be a name, or a function that other processes can import by its name"
            raise UsageError("pattern", shown, expected)
        return UserMask(text)
    built_in = parse_built_in(value)
    if built_in is not None:
        return built_in
    parts = value.split(":")
    reference = ":".join(parts[:2])
    if not _REFERENCE.fullmatch(reference):
        hint = suggest(parts[0], names())
        other = "" if hint.endswith("?") else ", or a function as pkg.mod:mask"
        raise UsageError("pattern", value, f"unknown; {hint}{other}")
    return UserMask(reference, parse_arguments(value, parts[2:]))


def mask_pattern(
    function: MaskFunction, num_heads: int, seq_len: int, batch_size: int = 1
) -> MaskPattern:
    """The pattern of a mask function, which is evaluated once.

    Args:
        function: the mask.
        num_heads: heads of a layer.
        seq_len: the length in tokens at which it is evaluated, the shortest in use.
        batch_size: sequences in one call.

    Raises:
        UsageError: when it cannot be evaluated, or differs between the sequences of a batch.
    """
    if seq_len**2 > MAX_PAIRS:
        raise UsageError("len", seq_len, too_long(function.text, 1))
    if (
        batch_size > 1
        and isinstance(function, UserMask)
        and function.depends_on_batch(seq_len, num_heads, batch_size)
    ):
        raise UsageError(
            "pattern", function.text, "differs between sequences; it needs --batch-size 1"
        )
    try:
        blocks = mask_blocks(function, num_heads, seq_len)
    except UsageError:
        raise
    except AttnprofError as error:
        raise UsageError("pattern", function.text, str(error)) from error
    return MaskPattern(
        num_heads=num_heads,
        right=0 if blocks.is_causal else None,
        causal=blocks.is_causal,
        function=function,
        depends_on_head=len(blocks.pairs) > 1,
    )


def import_masks(cases: Iterable[Case]) -> None:
    """Import the mask functions of users into this process.

    Raises:
        UsageError: for the first that cannot be imported.
    """
    for layer in (layer for case in cases for layer in mask_layers(case.workload.pattern)):
        if isinstance(layer.function, UserMask):
            with _user_code(layer.function):
                _loaded(layer.function)


def source_digest(cases: Iterable[Case]) -> str:
    """SHA-256 of the files of users' mask functions; empty without any."""
    functions = {layer.function for case in cases for layer in mask_layers(case.workload.pattern)}
    modules = {one.reference.partition(":")[0] for one in functions if isinstance(one, UserMask)}
    files = sorted({str(getattr(sys.modules.get(name), "__file__", "")) for name in modules})
    digest = hashlib.sha256()
    for file in files:
        if Path(file).is_file():
            digest.update(Path(file).read_bytes())
    return digest.hexdigest() if files else ""
