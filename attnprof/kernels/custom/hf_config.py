"""A Hugging Face `config.json`: its model with random weights, or a part of it, built offline."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Generator
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
from attnprof.kernels.custom.hf_decoding import (
    CacheSizes,
    cache_sizes,
    decoding_arguments,
    why_not_decoded,
)
from attnprof.kernels.custom.inputs import InputSpec, ids
from attnprof.kernels.custom.position_limits import exceeded, position_tables
from attnprof.kernels.custom.reference import Reference
from attnprof.kernels.custom.target import Target
from attnprof.kernels.seeding import SEED, seeded_defaults


class ConfigTarget(Target):
    """A transformers model by its config, or a part of it with the arguments it receives there.

    Args:
        reference: the config, the part, and descriptions of inputs.

    Raises:
        UsageError: when the config cannot be read, the model not be built, the part does not exist,
            or an input is unknown.
    """

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference.name, "")
        self._part = reference.inner
        self._file = read_config(reference)
        self._described = {spec.name: spec for spec in self._file.inputs}
        outline = self._outline()
        self._positions = position_tables(outline)
        if self._part:
            _find_part(self.name, outline, self._part)
        self._text_config: Any = outline.config.get_text_config()
        self._check_inputs(outline)
        self._inputs = {spec.name: spec for spec in self._input_specs(outline)}
        kind = type(outline).__name__
        self._left_out = "" if self._part else _left_out(self._file.architecture, kind)
        self.summary = f"transformers' {kind}" + (f", its {self._part}" if self._part else "")

    def adapt_workload(self, workload: Workload) -> Workload:
        """The workload with the model's width and heads, where its config has them."""
        from_config = super().adapt_workload(workload)
        hidden_size, num_heads = self._size("hidden_size"), self._size("num_attention_heads")
        kv_heads, head_dim = self._size("num_key_value_heads"), self._size("head_dim")
        if not hidden_size or not num_heads or (not head_dim and hidden_size % num_heads):
            return from_config
        is_grouped = kv_heads and num_heads % kv_heads == 0
        return replace(
            from_config,
            pattern=AttentionPattern.dense(num_heads, causal=from_config.pattern.causal),
            hidden_size=hidden_size,
            kv_heads=kv_heads if is_grouped else 0,
            head_dim=head_dim,
            value_dim=0,
        )

    def _size(self, name: str) -> int:
        """A size of the text model; 0 where its config has none, or one for each layer."""
        try:
            size = getattr(self._text_config, name, None)
        except Exception:  # raised by configs whose layers differ in it, as Gemma 4's do
            return 0
        return size if isinstance(size, int) else 0

    def unsupported_reason(self, workload: Workload) -> str | None:
        """Why it cannot run the workload, such as too few position embeddings; None if it can."""
        max_tokens = exceeded(self._positions, self._inputs, workload)
        if max_tokens is not None:
            return f"the config has positions for {max_tokens:,} tokens only"
        reason = super().unsupported_reason(workload)
        if reason is None and workload.mode == "decode":
            return self._cached("decoding", workload.at(workload.new_tokens), self._why_not_decoded)
        return reason

    def build(self, workload: Workload) -> Call:
        """The model, or a part of it with the arguments that it receives in a run of the model."""
        is_decoding = workload.mode == "decode"
        with seeded_defaults(workload), _uninitialized_if_fake():
            model = self._model(getattr(torch, workload.dtype), use_cache=is_decoding)
            model.train(workload.mode == "training")
            torch.manual_seed(SEED)  # the same inputs, whether weights were drawn or are fake
            if is_decoding:
                kwargs, cache = decoding_arguments(model, self._make_inputs, workload)
            else:
                kwargs, cache = self._make_inputs(workload), None
        if not self._part:
            return Call(module=model, kwargs=kwargs, mode=workload.mode, cache=cache)
        part = model.get_submodule(self._part)
        with torch.set_grad_enabled(workload.mode == "training"):
            kwargs = _captured_arguments(self.name, model, part, kwargs)
        if cache is not None:
            cache.restore()  # parts before this one have run
        return Call(module=part, kwargs=kwargs, mode=workload.mode, cache=cache)

    def build_bytes(self, workload: Workload) -> int:
        """Bytes of the complete model's parameters: it is built for a part too."""
        with fake_mode(), seeded_defaults(workload), _uninitialized_if_fake():
            model = self._model(getattr(torch, workload.dtype))
            return sum(p.numel() * p.element_size() for p in model.parameters())

    def source_path(self) -> Path:
        """The path of the config."""
        return self._file.path

    def notes(self, workload: Workload) -> tuple[str, ...]:
        """What the config names that is not counted; of decoding, the sizes of its caches."""
        of_cache = self._cache_sizes(workload).note(workload) if workload.mode == "decode" else ""
        return tuple(filter(None, [self._left_out, *self._file.notes, of_cache]))

    def cache_bytes(self, workload: Workload) -> int:
        """Bytes that transformers' `DynamicCache` has allocated after a call."""
        return self._cache_sizes(workload).dynamic

    def _cache_sizes(self, workload: Workload) -> CacheSizes:
        def measure(call: Call) -> CacheSizes:
            call.run()
            return cache_sizes(call, self._text_config, workload)

        self._profile(workload)
        return self._measured_once("cache", workload, measure)

    def _note_cache(self, call: Call, workload: Workload) -> None:
        if workload.mode == "decode":
            sizes = cache_sizes(call, self._text_config, workload)
            self._results["cache", workload] = sizes

    def _why_not_decoded(self) -> str | None:
        """The reason; None also where a prompt does not run on fake tensors: its row says why."""
        try:
            with fake_mode(), _uninitialized_if_fake():
                model = self._model(torch.float32, use_cache=True)
                return why_not_decoded(model, self._make_inputs)
        except Exception:
            return None

    def _make_inputs(self, workload: Workload) -> dict[str, torch.Tensor]:
        return {spec.name: _input(spec, workload) for spec in self._inputs.values()}

    def _model(self, dtype: torch.dtype, *, use_cache: bool = False) -> nn.Module:
        from transformers import AutoModel

        config = self._file.config_class.from_dict(copy.deepcopy(self._file.values))
        # Repeated calls must not lengthen a cache that a part received.
        config.get_text_config().use_cache = use_cache
        config.use_cache = use_cache
        model = AutoModel.from_config(config, dtype=dtype)
        model.tie_weights()  # which is skipped together with initialisation
        return model

    def _outline(self) -> Any:
        """The model on fake tensors.

        Raises:
            UsageError: when transformers cannot build it.
        """
        try:
            with fake_mode(), _uninitialized_if_fake():
                return self._model(torch.float32)
        except Exception as error:
            message = " ".join(str(error).split())
            raise UsageError(
                "kernel",
                self.name,
                f"transformers cannot build it: {type(error).__name__}: {message[:300]}",
            ) from error

    def _check_inputs(self, outline: Any) -> None:
        """Check the described inputs, and that the main one is described unless it is token ids.

        Raises:
            UsageError: when the model has no such argument, or its main input is not described.
        """
        parameters = inspect.signature(outline.forward).parameters
        for name in self._described:
            if name not in parameters:
                raise UsageError(
                    "kernel", self.name, f"has no argument {name}; {suggest(name, parameters)}"
                )
        main = outline.main_input_name
        if main != "input_ids" and main not in self._described:
            raise UsageError(
                "kernel",
                self.name,
                f"its argument {main} is unknown: describe it with --input {main}=DIMS",
            )

    def _input_specs(self, model: Any) -> list[InputSpec]:
        """The inputs of the model: token ids, never the padding token, and those described."""
        names = [model.main_input_name]
        if model.config.is_encoder_decoder:
            names.append("decoder_input_ids")
        specs = {
            name: ids(name)
            for name in names
            if name.endswith("input_ids")
            and name.replace("input_ids", "inputs_embeds") not in self._described
        }
        specs |= self._described
        vocabulary = getattr(self._text_config, "vocab_size", None) or 2
        padding = getattr(self._text_config, "pad_token_id", None)
        return [
            replace(spec, high=vocabulary, avoided=padding)
            if name.endswith("input_ids") and spec.high is None
            else spec
            for name, spec in specs.items()
        ]


def _input(spec: InputSpec, workload: Workload) -> torch.Tensor:
    """One input; images and sound require no gradient, as when a model is trained."""
    tensor = spec.tensor(workload)
    is_of_layers = spec.name.endswith(("embeds", "states", "outputs"))
    return tensor if is_of_layers or not tensor.requires_grad else tensor.detach()


def _left_out(architecture: str, kind: str) -> str:
    """A note on what the class that a config names has beside the model that is counted."""
    if not architecture or architecture == kind:
        return ""
    return f"counted as {kind}: what {architecture} has on top, such as its head, is left out"


@contextmanager
def _uninitialized_if_fake() -> Generator[None]:
    """Skip initialisation in a fake mode: some models read the weights that they have drawn."""
    from transformers.initialization import no_init_weights

    with no_init_weights() if is_fake_mode() else nullcontext():
        yield


def _find_part(name: str, model: nn.Module, path: str) -> None:
    """Check that the model has the part.

    Args:
        name: the reference, for errors.
        model: the model.
        path: names of modules, separated by dots.

    Raises:
        UsageError: when it has not; suggests a similar name of the first that does not exist.
    """
    module, module_name = model, type(model).__name__
    for step in path.split("."):
        children = dict(module.named_children())
        if step not in children:
            hint = suggest(step, children) if children else "it has no parts"
            raise UsageError(
                "kernel", name, f"{module_name} has no part {step or '(empty)'}; {hint}"
            )
        module, module_name = children[step], step


class _PartReached(Exception):  # noqa: N818 # not an error: it ends a run that has its answer
    """Ends a run of the model where the part is called."""


def _captured_arguments(
    name: str, model: nn.Module, part: nn.Module, inputs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments with which the model calls a part, by keyword.

    Args:
        name: the reference, for errors.
        model: the model.
        part: a module of it.
        inputs: arguments of the model.

    Raises:
        UsageError: when the model does not call the part.
    """
    captured: dict[str, Any] = {}

    def capture(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        bound = inspect.signature(part.forward).bind(*args, **kwargs)
        for key, value in bound.arguments.items():
            kind = bound.signature.parameters[key].kind
            captured.update(value if kind is inspect.Parameter.VAR_KEYWORD else {key: value})
        raise _PartReached

    handle = part.register_forward_pre_hook(capture, with_kwargs=True)
    try:
        model(**inputs)
    except _PartReached:
        pass
    else:
        raise UsageError("kernel", name, "the model does not call this part")
    finally:
        handle.remove()

    return {key: tree_map_only(torch.Tensor, _leaf, value) for key, value in captured.items()}


def _leaf(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor without the history of its gradient."""
    return tensor.detach().requires_grad_(tensor.requires_grad)
