"""Modules that project hidden states: which may be read instead of called, and which not at all."""

from __future__ import annotations

from typing import Any

from torch import nn

from attnprof.core.errors import UsageError

_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def is_plain(projection: nn.Module, *, ignores_hooks: bool = False) -> bool:
    """Whether calling a module is its weight's product and its bias, and nothing else.

    A LoRA layer, a parametrized or pruned one, one with hooks or with a `forward` of its own is
    not: it must be called.
    """
    return (
        type(projection) is nn.Linear
        and getattr(projection, "bias", None) is not None
        and "forward" not in vars(projection)
        and (ignores_hooks or not any(getattr(projection, name) for name in _HOOKS))
    )


def move_hooks(source: nn.Module, target: nn.Module) -> None:
    """Hooks of one module become those of another; their handles still remove them."""
    for name in _HOOKS:
        setattr(target, name, getattr(source, name))


def check_replaceable(name: str, layer: nn.Module, known: type[nn.Module]) -> None:
    """Refuses a layer that computes something else than the class that is known.

    Args:
        name: the layer's path in the model.
        layer: an instance of the class, or of one made from it.
        known: the class.

    Raises:
        ValueError: when `forward` is another one, or a projection is quantised.
    """
    own: Any = type(layer)
    if "forward" in vars(layer) or own.forward is not known.forward:
        raise UsageError(
            "model",
            f"{name} ({own.__name__})",
            f"has a forward of its own; only that of {known.__name__} can be replaced",
        )
    for part, projection in layer.named_children():
        # Parameters are tensors; quantised modules have a method that unpacks them.
        if callable(getattr(projection, "weight", None)):
            kind = f"{type(projection).__module__}.{type(projection).__name__}"
            raise UsageError(
                "model",
                f"{name}.{part} ({kind})",
                "is quantised: its numbers depend on which tokens are projected together; "
                "leave the attention out of quantisation, or keep transformers' own",
            )
