"""A Hugging Face `config.json`: its model with random weights, or a part of it, offline."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from attnprof.core.errors import UsageError, suggest
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.counting.fake_tensors import fake_mode, is_fake_mode
from attnprof.kernels.custom.config_file import read_config
from attnprof.kernels.custom.inputs import InputSpec, ids
from attnprof.kernels.custom.position_limits import exceeded, position_tables
from attnprof.kernels.custom.reference import Reference
from attnprof.kernels.custom.target import Target
from attnprof.kernels.seeding import SEED, seeded_defaults


class ConfigTarget(Target):
    """A model of transformers by its config, or a part of it with what the model hands it."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference.name, "")
        self._part = reference.inner
        self._specs = {spec.name: spec for spec in reference.inputs}
        self._file = read_config(reference)
        outline = self._outline()
        self._positions = position_tables(outline)
        if self._part:
            _find_part(self.name, outline, self._part)
        self._text_config: Any = outline.config.get_text_config()
        self._check_inputs(outline)
        self._given = {spec.name: spec for spec in self._inputs(outline)}
        kind = type(outline).__name__
        self._without = "" if self._part else _left_out(self._file.architecture, kind)
        self.summary = f"transformers' {kind}" + f", its {self._part}" * bool(self._part)

    def adapt_workload(self, workload: Workload) -> Workload:
        """The workload in the model's own width and heads, where it tells them."""
        hidden_size = getattr(self._text_config, "hidden_size", None)
        num_heads = getattr(self._text_config, "num_attention_heads", None)
        workload_of_config = super().adapt_workload(workload)
        if not (isinstance(hidden_size, int) and isinstance(num_heads, int)):
            return workload_of_config
        if hidden_size % num_heads:
            return workload_of_config
        pattern = AttentionPattern.dense(num_heads)
        return replace(workload_of_config, pattern=pattern, hidden_size=hidden_size)

    def unsupported_reason(self, workload: Workload) -> str | None:
        """Tables of positions end somewhere."""
        room = exceeded(self._positions, self._given, workload)
        if room is not None:
            return f"config has positions for {room:,} tokens"
        return super().unsupported_reason(workload)

    def build(self, workload: Workload) -> Call:
        """The model, or a part of it with the arguments that it has in a run of the model."""
        with seeded_defaults(workload), _without_numbers_where_fake():
            model = self._model(getattr(torch, workload.dtype))
            model.train(workload.mode == "training")
            torch.manual_seed(SEED)  # the same inputs, whether weights were drawn or are fake
            kwargs = {spec.name: _input(spec, workload) for spec in self._given.values()}
        if not self._part:
            return Call(module=model, kwargs=kwargs, mode=workload.mode)
        part = model.get_submodule(self._part)
        with torch.set_grad_enabled(workload.mode == "training"):
            kwargs = _captured(self.name, model, part, kwargs)
        return Call(module=part, kwargs=kwargs, mode=workload.mode)

    def build_bytes(self, workload: Workload) -> int:
        """All of the model, which is built for a part too."""
        with fake_mode(), seeded_defaults(workload), _without_numbers_where_fake():
            model = self._model(getattr(torch, workload.dtype))
            return sum(p.numel() * p.element_size() for p in model.parameters())

    def source_path(self) -> Path:
        """The config."""
        return self._file.path

    def notes(self, workload: Workload) -> tuple[str, ...]:
        """What of the config is not counted."""
        return tuple(filter(None, [self._without, *self._file.notes]))

    def _model(self, dtype: torch.dtype) -> nn.Module:
        from transformers import AutoModel

        config = self._file.config_class.from_dict(copy.deepcopy(self._file.values))
        # Repeated calls must not lengthen a cache that a part was handed.
        config.get_text_config().use_cache = False
        config.use_cache = False
        return AutoModel.from_config(config, dtype=dtype)

    def _outline(self) -> Any:
        """The model without numbers.

        Raises:
            UsageError: when transformers cannot build it.
        """
        try:
            with fake_mode(), _without_numbers_where_fake():
                return self._model(torch.float32)
        except Exception as error:
            said = " ".join(str(error).split())
            raise UsageError(
                "kernel",
                self.name,
                f"transformers cannot build it: {type(error).__name__}: {said[:300]}",
            ) from error

    def _check_inputs(self, outline: Any) -> None:
        parameters = inspect.signature(outline.forward).parameters
        for name in self._specs:
            if name not in parameters:
                raise UsageError(
                    "kernel", self.name, f"takes no {name}; {suggest(name, parameters)}"
                )
        main = outline.main_input_name
        if main != "input_ids" and main not in self._specs:
            raise UsageError(
                "kernel",
                self.name,
                f"its argument {main} is unknown: describe it with --input {main}=DIMS",
            )

    def _inputs(self, model: Any) -> list[InputSpec]:
        """Tokens, none of them padding, and what was described."""
        names = [model.main_input_name]
        if model.config.is_encoder_decoder:
            names.append("decoder_input_ids")
        specs = {
            name: ids(name)
            for name in names
            if name.endswith("input_ids")
            and name.replace("input_ids", "inputs_embeds") not in self._specs
        }
        specs |= self._specs
        vocabulary = getattr(self._text_config, "vocab_size", None) or 2
        padding = getattr(self._text_config, "pad_token_id", None)
        return [
            replace(spec, high=vocabulary, avoided=padding)
            if name.endswith("input_ids") and spec.high is None
            else spec
            for name, spec in specs.items()
        ]


def _input(spec: InputSpec, workload: Workload) -> torch.Tensor:
    """One input; images and sound ask for no gradient, as they do not when a model is trained."""
    tensor = spec.tensor(workload)
    is_of_layers = spec.name.endswith(("embeds", "states", "outputs"))
    return tensor if is_of_layers or not tensor.requires_grad else tensor.detach()


def _left_out(architecture: str, kind: str) -> str:
    """What the class that a config names has beside the model that is counted, in words."""
    if not architecture or architecture == kind:
        return ""
    return f"counted as {kind}: what {architecture} has on top, such as its head, is left out"


@contextmanager
def _without_numbers_where_fake() -> Generator[None]:
    """Fake weights have no numbers to be drawn, and some models look at what they drew."""
    from transformers.initialization import no_init_weights

    with no_init_weights() if is_fake_mode() else nullcontext():
        yield


def _find_part(name: str, model: nn.Module, path: str) -> None:
    """Check that the model has the part.

    Raises:
        UsageError: when it has not; says what is near where the path ends.
    """
    here, walked = model, type(model).__name__
    for step in path.split("."):
        children = dict(here.named_children())
        if step not in children:
            words = suggest(step, children) if children else "it has no parts"
            raise UsageError("kernel", name, f"{walked} has no part {step or '(nothing)'}; {words}")
        here, walked = children[step], step


class _Captured(Exception):  # noqa: N818 # it is no error: the part has been reached
    """Ends a run of the model where the part begins."""


def _captured(
    name: str, model: nn.Module, part: nn.Module, inputs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments that the model calls a part with, by keyword."""
    captured: dict[str, Any] = {}

    def catch(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        bound = inspect.signature(part.forward).bind(*args, **kwargs)
        for key, value in bound.arguments.items():
            kind = bound.signature.parameters[key].kind
            captured.update(value if kind is inspect.Parameter.VAR_KEYWORD else {key: value})
        raise _Captured

    handle = part.register_forward_pre_hook(catch, with_kwargs=True)
    try:
        model(**inputs)
    except _Captured:
        pass
    else:
        raise UsageError("kernel", name, "the model does not call this part")
    finally:
        handle.remove()

    def leaf(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.detach().requires_grad_(tensor.requires_grad)

    detach: Callable[[Any], Any] = lambda value: tree_map_only(torch.Tensor, leaf, value)  # noqa: E731
    return {key: detach(value) for key, value in captured.items()}
