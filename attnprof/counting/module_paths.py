"""Which module an operator belongs to, in the forward pass and in the backward pass.

In the forward pass it is the innermost module that runs. In the backward pass it is the module
whose forward pass made the autograd node that runs: autograd numbers the nodes in the order in
which they are made. Tensors get no hooks, so that nothing of what autograd does changes.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

ROOT = ""
"""The path of the module that is called; those inside it are named as in `named_modules`."""

_autograd: Any = torch.autograd


@dataclass(frozen=True, slots=True)
class _Running:
    """A module that runs: its path, and the backward pass that called it, -1 for none."""

    module: nn.Module
    path: str
    graph_task: int


class ModuleCalls:
    """Follows the calls of modules.

    A module is named as its caller holds it: one that two modules share has two paths. One that its
    caller does not hold is named behind its caller too, by its last name in the modules that are
    further out, or by its class.
    """

    def __init__(self) -> None:
        self._running: list[_Running] = []
        self._paths: defaultdict[nn.Module, dict[str, None]] = defaultdict(dict)
        self._names: dict[nn.Module, dict[nn.Module, str]] = {}
        self._hooks = ExitStack()
        self._thread = 0
        # The nodes from number starts[i] on were made in places[i].
        self._starts = [0]
        self._places = [ROOT]
        self._seen = 0

    def __enter__(self) -> ModuleCalls:
        self._thread = threading.get_ident()
        self._seen = _autograd._get_sequence_nr()
        hooks = nn.modules.module
        for handle in (
            hooks.register_module_forward_pre_hook(self._enter),
            hooks.register_module_forward_hook(self._leave, always_call=True),
        ):
            self._hooks.callback(handle.remove)
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.close()

    def module_path(self) -> str:
        """The path of the module that runs, or whose gradients do."""
        place = self._module_path()
        if threading.get_ident() == self._thread:
            self._note_nodes(place)
        return place

    def _module_path(self) -> str:
        caller = self._caller()
        if caller is not None:
            return caller.path
        node: Any = torch._C._current_autograd_node()
        if node is None:
            return ROOT
        return self._places[bisect_right(self._starts, node._sequence_nr()) - 1]

    def _note_nodes(self, place: str) -> None:
        """Nodes that were made since the last call belong here."""
        made = _autograd._get_sequence_nr()
        if made > self._seen and place != self._places[-1]:
            self._starts.append(self._seen)
            self._places.append(place)
        self._seen = made

    def _caller(self) -> _Running | None:
        """The innermost module that runs; None in a backward pass that began further in."""
        innermost = self._running[-1] if self._running else None
        task = torch._C._current_graph_task_id()
        return innermost if innermost is not None and innermost.graph_task == task else None

    def _enter(self, module: nn.Module, args: Any) -> None:
        place = self.module_path()
        path = self._path_of(module, self._caller(), place)
        self._paths[module][path] = None
        self._running.append(_Running(module, path, torch._C._current_graph_task_id()))

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self.module_path()
        if self._running and self._running[-1].module is module:
            self._running.pop()

    def _path_of(self, module: nn.Module, caller: _Running | None, place: str) -> str:
        if caller is not None:
            return _joined(caller.path, self._name(module, caller))
        if torch._C._current_graph_task_id() == -1:
            return ROOT
        # A checkpoint runs it once more, in the backward pass of the part that it was called in.
        known = list(self._paths[module])
        nearest = [path for path in known if _is_inside(path, place) or _is_inside(place, path)]
        return (nearest or known or [place])[-1]

    def _name(self, module: nn.Module, caller: _Running) -> str:
        for name, child in caller.module.named_children():
            if child is module:
                return name
        inside = self._names_inside(caller.module)
        if module in inside:
            return inside[module]
        for outer in reversed(self._running):
            if module in self._names_inside(outer.module):
                return self._names_inside(outer.module)[module].rpartition(".")[2]
        return type(module).__name__

    def _names_inside(self, module: nn.Module) -> dict[nn.Module, str]:
        if module not in self._names:
            self._names[module] = {part: name for name, part in module.named_modules() if name}
        return self._names[module]


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _is_inside(path: str, outer: str) -> bool:
    return f"{path}.".startswith(f"{outer}." if outer else "")
