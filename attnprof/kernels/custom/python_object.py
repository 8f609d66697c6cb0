"""`pkg.mod:name`: a module, a class of modules, a function that makes one, or attention itself."""

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
from attnprof.kernels.custom.ineffective_options import no_effect, sizes_of
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
"""What of the workload a constructor or a factory is given by these names."""

_REQUIRED_SIZES = {
    "dim": "hidden_size",
    "hidden_dim": "hidden_size",
    "heads": "num_heads",
    "dim_head": "head_dim",
    "max_len": "seq_len",
    "max_seq_len": "seq_len",
}
"""Names that may mean something else: these are given only where there is no default."""

_BATCH_FIRST = "batch_first"

_IN_THIS_PROCESS = "costed in this process, as other processes cannot import it by a name"


class PythonTarget(Target):
    """An object in one of the user's modules.

    Args:
        reference: where it is, and what is said of its inputs.
        given: the object itself, where it is at hand.
    """

    def __init__(self, reference: Reference, given: Any = None) -> None:
        super().__init__(reference.name, f"{reference.inner} in {reference.place}")
        self._module = reference.place
        self._arguments = Arguments(reference.name, reference.inputs)
        self._layout: Layout | None = None
        self._used_sizes: set[str] = set()
        self._inputs: list[InputSpec] | None = None
        self._is_given = given is not None
        self._object = load_object(reference) if given is None else given
        self._make = self._maker()

    def build(self, workload: Workload) -> Call:
        """Makes the module anew, or copies the one that there is."""
        with seeded_defaults(workload), _user_code_context():
            function, given = self._make(workload)
            self._check_callable(function)
            if given is None:
                self._inputs = self._specs(function, workload)
                torch.manual_seed(SEED)  # the same, whether weights were drawn or are fake
                given = tensors(self._inputs, function, workload)
            module = as_module(function, given)
            module = to_device_and_dtype(module, workload, is_fresh=function is not self._object)
        return Call(module=module, kwargs=inputs_to_device(given, workload), mode=workload.mode)

    def notes(self, workload: Workload) -> tuple[str, ...]:
        """The layout that was assumed, and the options that change nothing."""
        self._footprint(workload)  # once it has been built, its inputs are known
        idle = no_effect(workload, self._used_sizes, self._inputs)
        assumed = ASSUMED if self._layout and self._layout.is_assumed else ""
        here = _IN_THIS_PROCESS * self._is_given
        return tuple(note for note in (here, assumed, idle) if note)

    def made(self, workload: Workload) -> Any:
        """The module or function itself, without inputs."""
        with seeded_defaults(workload), _user_code_context():
            function, _ = self._make(workload)
            self._check_callable(function)
            if not isinstance(function, nn.Module):
                return function
            return to_device_and_dtype(function, workload, is_fresh=function is not self._object)

    def source_path(self) -> Path | None:
        """The module's."""
        file = getattr(sys.modules.get(self._module), "__file__", None)
        return Path(file) if file else None

    def _check_callable(self, function: Any) -> None:
        if not callable(function):
            kind = type(function).__name__
            raise UsageError("kernel", self.name, f"made {kind}, which cannot be called")

    def _maker(self) -> Callable[[Workload], tuple[Any, dict[str, Any] | None]]:
        """How to come by a callable, and by its arguments where they come with it."""
        thing = self._object
        if isinstance(thing, nn.Module):
            return lambda workload: (thing, None)
        if not callable(thing):
            kind = type(thing).__name__
            raise UsageError(
                "kernel", self.name, f"is {kind}: name a module, a class of modules or a function"
            )
        try:
            parameters = signature_of(thing)
        except (TypeError, ValueError):
            raise UsageError("kernel", self.name, NO_SIGNATURE) from None
        if isinstance(thing, type):
            if not issubclass(thing, nn.Module):
                raise UsageError("kernel", self.name, "is a class, but none of torch's modules")
            self._check_sizes(parameters)
            self._used_sizes = sizes_of(_taken_sizes(parameters).values())
            return lambda workload: (thing(**_sizes(parameters, workload)), None)
        return self._function_maker(thing, parameters)

    def _function_maker(
        self, function: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]
    ) -> Callable[[Workload], tuple[Any, dict[str, Any] | None]]:
        needed = required(parameters)
        inputs = {*IDS, *STATES, *self._arguments.described}
        if needed and inputs.issuperset(needed):
            return lambda workload: (function, None)
        if inspect.isbuiltin(function):  # it makes no modules
            return lambda workload: (function, None)
        unknown = [name for name in needed if name not in {*_SIZES, *_REQUIRED_SIZES, _BATCH_FIRST}]
        if len(needed) == 1 and unknown:
            self._used_sizes = {"seq_len"}
            return lambda workload: self._made(function(workload.seq_len))
        self._check_sizes(parameters)
        self._used_sizes = sizes_of(_taken_sizes(parameters).values())
        return lambda workload: self._made(function(**_sizes(parameters, workload)))

    def _made(self, made: Any) -> tuple[Any, dict[str, Any] | None]:
        """What a factory made: a module, or a callable with its arguments."""
        if isinstance(made, tuple) and len(cast("tuple[Any, ...]", made)) == 2:
            function, kwargs = cast("tuple[Any, Any]", made)
            if isinstance(kwargs, Mapping):
                return function, dict(cast("Mapping[str, Any]", kwargs))
        if isinstance(made, nn.Module):
            return made, None
        kind = type(made).__name__
        raise UsageError(
            "kernel", self.name, f"made {kind}, neither a module nor (callable, keyword arguments)"
        )

    def _check_sizes(self, parameters: Mapping[str, inspect.Parameter]) -> None:
        for name in required(parameters):
            if name not in {*_SIZES, *_REQUIRED_SIZES, _BATCH_FIRST}:
                raise UsageError(
                    "kernel",
                    self.name,
                    f"needs {name}, which is none of the workload's sizes: name a function that "
                    f"takes none of its own and makes the module",
                )

    def _specs(self, function: Any, workload: Workload) -> list[InputSpec]:
        """The inputs of what is called; the order of their dimensions is sought once."""

        def layout() -> Layout:
            if self._layout is None:
                self._layout = find_layout(function, workload, self._probe)
            return self._layout

        return self._arguments.specs(function, layout)

    def _probe(
        self, workload: Workload, is_batch_first: bool
    ) -> tuple[nn.Module, Callable[[], object]]:
        """The module anew, and what runs it on inputs of one layout."""
        function, _ = self._make(workload)
        specs = self._arguments.specs(function, lambda: Layout(is_batch_first))
        kwargs = tensors(specs, function, workload)
        module = to_device_and_dtype(as_module(function, kwargs), workload, is_fresh=False)
        return module, lambda: module(**kwargs)


def _sizes(parameters: Mapping[str, inspect.Parameter], workload: Workload) -> dict[str, object]:
    """What the constructor or factory takes of the workload."""
    values: dict[str, object] = {
        name: getattr(workload, size) for name, size in _taken_sizes(parameters).items()
    }
    return values | ({_BATCH_FIRST: True} if _BATCH_FIRST in parameters else {})


def _taken_sizes(parameters: Mapping[str, inspect.Parameter]) -> dict[str, str]:
    """The parameters that are sizes of the workload, and which."""
    needed = required(parameters)
    sizes = {name: size for name, size in _SIZES.items() if name in parameters}
    return sizes | {name: size for name, size in _REQUIRED_SIZES.items() if name in needed}


def inputs_to_device(kwargs: dict[str, Any], workload: Workload) -> dict[str, Any]:
    """Tensors on the workload's device; floats ask for gradients in training."""

    def locate(tensor: torch.Tensor) -> torch.Tensor:
        here = tensor.detach().to(workload.device)
        return here.requires_grad_(workload.mode == "training" and here.is_floating_point())

    return cast("dict[str, Any]", tree_map_only(torch.Tensor, locate, kwargs))


@contextmanager
def _user_code_context() -> Generator[None]:
    """The current folder can be imported from, and what is printed does not mix with results.

    Raises:
        FailedError: in place of what leaves the process, such as `sys.exit`.
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
    """What a reference names.

    Raises:
        UsageError: when there is no such thing.
    """
    found: Any = _import(reference)
    for name in reference.inner.split("."):
        if not hasattr(found, name):
            where = reference.place if isinstance(found, ModuleType) else type(found).__name__
            choices = _public(found)
            words = suggest(name, choices) if choices else "it has nothing that can be costed"
            raise UsageError("kernel", reference.name, f"{where} has no {name}; {words}")
        found = getattr(found, name)
    return found


def _public(place: Any) -> list[str]:
    """Names of what could be meant: what can be called and was not imported from elsewhere."""
    own = {name: value for name, value in vars(place).items() if not name.startswith("_")}
    return [
        name
        for name, value in own.items()
        if callable(value)
        and getattr(value, "__module__", place.__name__) in (place.__name__, None)
    ] or [name for name, value in own.items() if callable(value)][:20]


def _import(reference: Reference) -> ModuleType:
    importlib.invalidate_caches()
    try:
        with _user_code_context():
            return importlib.import_module(reference.place)
    except FailedError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        raise UsageError(
            "kernel",
            reference.name,
            f"{reference.place} cannot be imported: {type(error).__name__}: {said}"
            f"{_source_hint(reference.place, error)}",
        ) from error


def _source_hint(place: str, error: Exception) -> str:
    """What helps where the package lies in a folder `src` and is not installed."""
    package = place.partition(".")[0]
    is_missing = isinstance(error, ModuleNotFoundError) and error.name == package
    beside = [Path("src", package), Path("src", f"{package}.py")]
    if not is_missing or not any(path.exists() for path in beside):
        return ""
    return "; it lies in src: set PYTHONPATH=src, or pip install -e ."
