"""Checks of projections: may their weights be used directly, and may their layer be replaced."""

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
    """Whether a module computes x W' + b and nothing else, so that its weights may be used.

    A LoRA layer, a parametrized or pruned one, one with hooks or with an overridden `forward` does
    not: it must be called.

    Args:
        projection: the module.
        ignores_hooks: whether a module with hooks counts as plain.
    """
    return (
        type(projection) is nn.Linear
        and getattr(projection, "bias", None) is not None
        and "forward" not in vars(projection)
        and (ignores_hooks or not any(getattr(projection, name) for name in _HOOKS))
    )


def move_hooks(source: nn.Module, target: nn.Module) -> None:
    """Move the hooks of one module to another; their handles remain valid."""
    for name in _HOOKS:
        setattr(target, name, getattr(source, name))


def check_replaceable(name: str, layer: nn.Module, known: type[nn.Module]) -> None:
    """Refuse a layer that computes something else than the given class.

    Args:
        name: the layer's path in the model.
        layer: an instance of the class or of a subclass.
        known: the class.

    Raises:
        UsageError: (a `ValueError`) if `forward` is overridden, or a projection is quantised.
    """
    kind: Any = type(layer)
    if "forward" in vars(layer) or kind.forward is not known.forward:
        raise UsageError(
            "model",
            f"{name} ({kind.__name__})",
            f"overrides forward; only the forward of {known.__name__} can be replaced",
        )
    for part, projection in layer.named_children():
        # A parameter is a tensor; quantised modules have a method `weight` that unpacks it.
        if callable(getattr(projection, "weight", None)):
            class_path = f"{type(projection).__module__}.{type(projection).__name__}"
            raise UsageError(
                "model",
                f"{name}.{part} ({class_path})",
                "is quantised: its outputs depend on which tokens are projected together; "
                "exclude the attention from quantisation, or keep transformers' attention",
            )
