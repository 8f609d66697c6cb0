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

from attnprof.call import Call
from attnprof.errors import FailedError, UsageError, code_under_test, near
from attnprof.seeded import SEED, seeded_defaults
from attnprof.targets.inputs import InputSpec, ids, states
from attnprof.targets.modules import as_module, placed, required, signature_of
from attnprof.targets.reference import Reference
from attnprof.targets.target import Target
from attnprof.workload import Workload

_IDS = ("input_ids", "tokens", "ids")
_STATES = ("hidden_states", "x", "inputs", "input", "src", "query", "key", "value")

_SIZES: dict[str, Callable[[Workload], object]] = {
    "hidden_size": lambda workload: workload.hidden_size,
    "embed_dim": lambda workload: workload.hidden_size,
    "d_model": lambda workload: workload.hidden_size,
    "n_embd": lambda workload: workload.hidden_size,
    "num_heads": lambda workload: workload.num_heads,
    "num_attention_heads": lambda workload: workload.num_heads,
    "n_heads": lambda workload: workload.num_heads,
    "n_head": lambda workload: workload.num_heads,
    "nhead": lambda workload: workload.num_heads,
    "head_dim": lambda workload: workload.head_dim,
    "seq_len": lambda workload: workload.seq_len,
    "batch_size": lambda workload: workload.batch_size,
    "batch_first": lambda workload: True,
}
"""What a constructor or a factory is given by these names."""

_REQUIRED_SIZES: dict[str, Callable[[Workload], object]] = {
    "dim": lambda workload: workload.hidden_size,
    "hidden_dim": lambda workload: workload.hidden_size,
    "heads": lambda workload: workload.num_heads,
    "dim_head": lambda workload: workload.head_dim,
    "max_len": lambda workload: workload.seq_len,
    "max_seq_len": lambda workload: workload.seq_len,
}
"""Names that may mean something else: these are given only where there is no default."""


class PythonTarget(Target):
    """An object in one of the user's modules.

    Args:
        reference: where it is, and what is said of its inputs.
        given: the object itself, where it is at hand.
    """

    def __init__(self, reference: Reference, given: Any = None) -> None:
        super().__init__(reference.name, f"{reference.inner} in {reference.place}")
        self._module = reference.place
        self._specs = {spec.name: spec for spec in reference.inputs}
        self._object = load_object(reference) if given is None else given
        self._make = self._maker()

    def build(self, workload: Workload) -> Call:
        """Makes the module anew, or copies the one that there is."""
        with seeded_defaults(workload), _users_code():
            function, given = self._make(workload)
            kwargs = self._inputs(function, workload) if given is None else given
            module = as_module(self._named(function), kwargs)
            module = placed(module, workload, is_fresh=function is not self._object)
        return Call(module=module, kwargs=_located(kwargs, workload), mode=workload.mode)

    def made(self, workload: Workload) -> Any:
        """The module or function itself, without inputs."""
        with seeded_defaults(workload), _users_code():
            function, _ = self._make(workload)
            if not isinstance(function, nn.Module):
                return self._named(function)
            return placed(function, workload, is_fresh=function is not self._object)

    def source_path(self) -> Path | None:
        """The module's."""
        file = getattr(sys.modules.get(self._module), "__file__", None)
        return Path(file) if file else None

    def _named(self, function: Any) -> Callable[..., Any]:
        if not callable(function):
            kind = type(function).__name__
            raise UsageError("kernel", self.name, f"made {kind}, which cannot be called")
        return function

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
            raise UsageError("kernel", self.name, "has no signature to be read") from None
        if isinstance(thing, type):
            if not issubclass(thing, nn.Module):
                raise UsageError("kernel", self.name, "is a class, but none of torch's modules")
            self._check_sizes(parameters)
            return lambda workload: (thing(**_sizes(parameters, workload)), None)
        return self._function_maker(thing, parameters)

    def _function_maker(
        self, function: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]
    ) -> Callable[[Workload], tuple[Any, dict[str, Any] | None]]:
        needed = required(parameters)
        inputs = {*_IDS, *_STATES, *self._specs}
        if needed and inputs.issuperset(needed):
            return lambda workload: (function, None)
        unknown = [name for name in needed if name not in _SIZES | _REQUIRED_SIZES]
        if len(needed) == 1 and unknown:
            return lambda workload: self._made(function(workload.seq_len))
        self._check_sizes(parameters)
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
            if name not in _SIZES and name not in _REQUIRED_SIZES:
                raise UsageError(
                    "kernel",
                    self.name,
                    f"needs {name}, which is none of the workload's sizes: name a function that "
                    f"takes none of its own and makes the module",
                )

    def _inputs(self, function: Any, workload: Workload) -> dict[str, Any]:
        """Inputs as described, and by their names those that `forward` needs beside them."""
        try:
            parameters = signature_of(function)
        except (TypeError, ValueError):
            raise UsageError("kernel", self.name, "has no signature to be read") from None
        takes_any = any(
            p.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
            for p in parameters.values()
        )
        for name in self._specs:
            if name not in parameters and not takes_any:
                raise UsageError("kernel", self.name, f"takes no {name}; {near(name, parameters)}")
        # Arguments that go by position keep the order of the signature.
        order = list(parameters)
        wanted = sorted(
            {*required(parameters), *self._specs},
            key=lambda name: order.index(name) if name in order else len(order),
        )
        if not wanted:
            raise UsageError(
                "kernel",
                self.name,
                "its arguments do not tell what it takes: describe them with --input NAME=DIMS",
            )
        high = _vocabulary(function)
        specs = [self._spec(name, function) for name in wanted]
        torch.manual_seed(SEED)  # the same inputs, whether weights were drawn or are fake
        return {spec.name: spec.tensor(workload, high) for spec in specs}

    def _spec(self, name: str, function: Any) -> InputSpec:
        if name in self._specs:
            return self._specs[name]
        if name in _IDS:
            return ids(name)
        if name in _STATES:
            return states(name, is_batch_first=getattr(function, "batch_first", True))
        raise UsageError(
            "kernel",
            self.name,
            f"its argument {name} is unknown: describe it with "
            f"--input {name}=DIMS, such as {name}=batch,len,hidden",
        )


def _sizes(parameters: Mapping[str, inspect.Parameter], workload: Workload) -> dict[str, object]:
    """What the constructor or factory takes of the workload."""
    values = {name: size(workload) for name, size in _SIZES.items() if name in parameters}
    needed = required(parameters)
    return values | {n: size(workload) for n, size in _REQUIRED_SIZES.items() if n in needed}


def _vocabulary(function: Any) -> int:
    """Tokens below this number are in every table of embeddings."""
    modules = function.modules() if isinstance(function, nn.Module) else ()
    sizes = [module.num_embeddings for module in modules if isinstance(module, nn.Embedding)]
    return min(sizes, default=2)


def _located(kwargs: dict[str, Any], workload: Workload) -> dict[str, Any]:
    """Tensors on the workload's device; floats ask for gradients in training."""

    def locate(tensor: torch.Tensor) -> torch.Tensor:
        here = tensor.detach().to(workload.device)
        return here.requires_grad_(workload.mode == "training" and here.is_floating_point())

    return cast("dict[str, Any]", tree_map_only(torch.Tensor, locate, kwargs))


@contextmanager
def _users_code() -> Generator[None]:
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
            words = near(name, choices) if choices else "it has nothing that can be costed"
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
        with _users_code():
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
