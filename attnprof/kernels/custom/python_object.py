"""`pkg.mod:name`: a module, a module class, a function that makes one, or attention itself."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from attnprof.core.errors import FailedError, UsageError, code_under_test, suggest
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.custom.arguments import IDS, NO_SIGNATURE, STATES, Arguments, tensors
from attnprof.kernels.custom.ineffective_options import dependencies_of, no_effect
from attnprof.kernels.custom.input_layout import ASSUMED, Layout, find_layout
from attnprof.kernels.custom.inputs import InputSpec
from attnprof.kernels.custom.modules import as_module, required, signature_of, to_device_and_dtype
from attnprof.kernels.custom.reference import Reference
from attnprof.kernels.custom.target import Target
from attnprof.kernels.seeding import SEED, seeded_defaults

_SIZES = {
    "hidden_size": "hidden_size",
    "embed_dim": "hidden_size",
    "d_model": "hidden_size",
    "n_embd": "hidden_size",
    "num_heads": "num_heads",
    "num_attention_heads": "num_heads",
    "n_heads": "num_heads",
    "n_head": "num_heads",
    "nhead": "num_heads",
    "head_dim": "head_dim",
    "seq_len": "seq_len",
    "batch_size": "batch_size",
}
"""Sizes of the workload that constructors and factories receive, by parameter name."""

_REQUIRED_SIZES = {
    "dim": "hidden_size",
    "hidden_dim": "hidden_size",
    "heads": "num_heads",
    "dim_head": "head_dim",
    "max_len": "seq_len",
    "max_seq_len": "seq_len",
}
"""Names that may mean something else: passed only to parameters without a default."""

_NO_CACHE = "cannot decode: its cache is not known; give a Hugging Face config.json instead"

_BATCH_FIRST = "batch_first"

_IN_THIS_PROCESS = "runs in this process: other processes cannot import it by name"


_Factory = Callable[[Workload], tuple[Any, dict[str, Any] | None]]
"""Makes a callable and its keyword arguments; None where `Arguments` makes these."""


class PythonTarget(Target):
    """An object of user code.

    Args:
        reference: its module and name, and the description of its inputs.
        instance: the object itself, where it was passed from Python.

    Raises:
        UsageError: when it cannot be imported or called, or needs arguments that are not known.
        FailedError: when importing it leaves the process, as `sys.exit` does.
    """

    def __init__(self, reference: Reference, instance: Any = None) -> None:
        super().__init__(reference.name, f"{reference.inner} in {reference.location}")
        self._module = reference.location
        self._arguments = Arguments(reference.name, reference.inputs)
        self._layout: Layout | None = None
        self._used_sizes: set[str] = set()
        self._inputs: list[InputSpec] | None = None
        self._is_passed = instance is not None
        self._object = load_object(reference) if instance is None else instance
        self._make = self._make_factory()

    def unsupported_reason(self, workload: Workload) -> str | None:
        """Why it cannot run the workload, None if it can: it has no cache that could be filled."""
        if workload.mode == "decode":
            return _NO_CACHE
        return super().unsupported_reason(workload)

    def build(self, workload: Workload) -> Call:
        """Makes a new module, or copies the one that the reference names."""
        with seeded_defaults(workload), _user_code_context():
            function, kwargs = self._make(workload)
            self._check_callable(function)
            if kwargs is None:
                self._inputs = self._specs(function, workload)
                torch.manual_seed(SEED)  # the same, whether weights were drawn or are fake
                kwargs = tensors(self._inputs, function, workload)
            module = as_module(function, kwargs)
            module = to_device_and_dtype(module, workload, is_fresh=function is not self._object)
        return Call(module=module, kwargs=inputs_to_device(kwargs, workload), mode=workload.mode)

    def notes(self, workload: Workload) -> tuple[str, ...]:
        """That it runs in this process, an assumed layout, and the options without effect."""
        self._footprint(workload)  # once it has been built, its inputs are known
        ineffective = no_effect(workload, self._used_sizes, self._inputs)
        assumed = ASSUMED if self._layout and self._layout.is_assumed else ""
        in_this_process = _IN_THIS_PROCESS if self._is_passed else ""
        return tuple(note for note in (in_this_process, assumed, ineffective) if note)

    def made(self, workload: Workload) -> Any:
        """The module or function itself, without inputs.

        Raises:
            UsageError: when what was made is not callable.
        """
        with seeded_defaults(workload), _user_code_context():
            function, _ = self._make(workload)
            self._check_callable(function)
            if not isinstance(function, nn.Module):
                return function
            return to_device_and_dtype(function, workload, is_fresh=function is not self._object)

    def source_path(self) -> Path | None:
        """The file of its Python module; None where it has none."""
        file = getattr(sys.modules.get(self._module), "__file__", None)
        return Path(file) if file else None

    def _check_callable(self, function: Any) -> None:
        if not callable(function):
            kind = type(function).__name__
            raise UsageError("kernel", self.name, f"returned {kind}; must return a callable")

    def _make_factory(self) -> _Factory:
        """What makes the callable from a workload.

        Raises:
            UsageError: when the object is not of a kind that can be called.
        """
        thing = self._object
        if isinstance(thing, nn.Module):
            return lambda workload: (thing, None)
        if not callable(thing):
            kind = type(thing).__name__
            raise UsageError(
                "kernel", self.name, f"is {kind}: name a module, a module class or a function"
            )
        try:
            parameters = signature_of(thing)
        except (TypeError, ValueError):
            raise UsageError("kernel", self.name, NO_SIGNATURE) from None
        if isinstance(thing, type):
            if not issubclass(thing, nn.Module):
                raise UsageError("kernel", self.name, "is a class, but not a torch module")
            self._check_sizes(parameters)
            self._used_sizes = dependencies_of(_sizes_taken(parameters).values())
            return lambda workload: (thing(**_sizes(parameters, workload)), None)
        return self._function_maker(thing, parameters)

    def _function_maker(
        self, function: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]
    ) -> _Factory:
        """The function itself where it takes inputs; otherwise it is called to make a module."""
        needed = required(parameters)
        inputs = {*IDS, *STATES, *self._arguments.described}
        if needed and inputs.issuperset(needed):
            return lambda workload: (function, None)
        if inspect.isbuiltin(function):  # it makes no modules
            return lambda workload: (function, None)
        unknown = [name for name in needed if name not in {*_SIZES, *_REQUIRED_SIZES, _BATCH_FIRST}]
        if len(needed) == 1 and unknown:
            self._used_sizes = {"seq_len"}
            return lambda workload: self._unpacked(function(workload.seq_len))
        self._check_sizes(parameters)
        self._used_sizes = dependencies_of(_sizes_taken(parameters).values())
        return lambda workload: self._unpacked(function(**_sizes(parameters, workload)))

    def _unpacked(self, made: Any) -> tuple[Any, dict[str, Any] | None]:
        """What a factory returned: a module, or a callable with its keyword arguments."""
        if isinstance(made, tuple) and len(cast("tuple[Any, ...]", made)) == 2:
            function, kwargs = cast("tuple[Any, Any]", made)
            if isinstance(kwargs, Mapping):
                return function, dict(cast("Mapping[str, Any]", kwargs))
        if isinstance(made, nn.Module):
            return made, None
        kind = type(made).__name__
        raise UsageError(
            "kernel",
            self.name,
            f"returned {kind}; must return a module, or (callable, keyword arguments)",
        )

    def _check_sizes(self, parameters: Mapping[str, inspect.Parameter]) -> None:
        for name in required(parameters):
            if name not in {*_SIZES, *_REQUIRED_SIZES, _BATCH_FIRST}:
                raise UsageError(
                    "kernel",
                    self.name,
                    f"requires {name}, which is not a size of the workload: name a function "
                    f"that makes the module without it",
                )

    def _specs(self, function: Any, workload: Workload) -> list[InputSpec]:
        """The inputs of what is called; the order of their dimensions is determined once."""

        def layout() -> Layout:
            if self._layout is None:
                self._layout = find_layout(function, workload, self._probe)
            return self._layout

        return self._arguments.specs(function, layout)

    def _probe(
        self, workload: Workload, is_batch_first: bool
    ) -> tuple[nn.Module, Callable[[], object]]:
        """A new module, and what runs it on inputs of one layout."""
        function, _ = self._make(workload)
        specs = self._arguments.specs(function, lambda: Layout(is_batch_first))
        kwargs = tensors(specs, function, workload)
        module = to_device_and_dtype(as_module(function, kwargs), workload, is_fresh=False)
        return module, lambda: module(**kwargs)


def _sizes(parameters: Mapping[str, inspect.Parameter], workload: Workload) -> dict[str, object]:
    """Arguments of the constructor or factory, by name."""
    values: dict[str, object] = {
        name: getattr(workload, size) for name, size in _sizes_taken(parameters).items()
    }
    return values | ({_BATCH_FIRST: True} if _BATCH_FIRST in parameters else {})


def _sizes_taken(parameters: Mapping[str, inspect.Parameter]) -> dict[str, str]:
    """The parameters that are sizes of the workload, each with the attribute of `Workload`."""
    needed = required(parameters)
    sizes = {name: size for name, size in _SIZES.items() if name in parameters}
    return sizes | {name: size for name, size in _REQUIRED_SIZES.items() if name in needed}


def inputs_to_device(kwargs: dict[str, Any], workload: Workload) -> dict[str, Any]:
    """Tensors on the workload's device; floating point ones require gradients in training."""

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        copy = tensor.detach().to(workload.device)
        return copy.requires_grad_(workload.mode == "training" and copy.is_floating_point())

    return cast("dict[str, Any]", tree_map_only(torch.Tensor, moved, kwargs))


@contextmanager
def _user_code_context() -> Generator[None]:
    """Import from the current folder too, and send what is printed to stderr.

    Raises:
        FailedError: instead of exceptions that leave the process, such as that of `sys.exit`.
    """
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        with code_under_test():
            yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def load_object(reference: Reference) -> Any:
    """The Python object that a reference names.

    Raises:
        UsageError: when there is no such object; suggests a similar name.
        FailedError: when importing it leaves the process.
    """
    owner: Any = _import(reference)
    for name in reference.inner.split("."):
        if not hasattr(owner, name):
            where = reference.location if isinstance(owner, ModuleType) else type(owner).__name__
            choices = _suggestions(owner)
            hint = suggest(name, choices) if choices else "it defines nothing callable"
            raise UsageError("kernel", reference.name, f"{where} has no {name}; {hint}")
        owner = getattr(owner, name)
    return owner


def _suggestions(owner: Any) -> list[str]:
    """Public callables of a module or a class: those it defines or else, at most 20, all."""
    public = {
        name: value
        for name, value in vars(owner).items()
        if not name.startswith("_") and callable(value)
    }
    defined = [
        name
        for name, value in public.items()
        if getattr(value, "__module__", owner.__name__) in (owner.__name__, None)
    ]
    return defined or list(public)[:20]


def _import(reference: Reference) -> ModuleType:
    """The Python module of a reference.

    Raises:
        UsageError: when it cannot be imported.
        FailedError: when importing it leaves the process.
    """
    importlib.invalidate_caches()
    try:
        with _user_code_context():
            return importlib.import_module(reference.location)
    except FailedError:
        raise
    except Exception as error:
        message = " ".join(str(error).split())
        raise UsageError(
            "kernel",
            reference.name,
            f"{reference.location} cannot be imported: {type(error).__name__}: {message}"
            f"{_source_hint(reference.location, error)}",
        ) from error


def _source_hint(module: str, error: Exception) -> str:
    """The remedy where the package is in a folder `src` and not installed; empty elsewhere."""
    package = module.partition(".")[0]
    is_missing = isinstance(error, ModuleNotFoundError) and error.name == package
    in_src = [Path("src", package), Path("src", f"{package}.py")]
    if not is_missing or not any(path.exists() for path in in_src):
        return ""
    return "; it is in src: set PYTHONPATH=src, or pip install -e ."
