"""Which module an operator belongs to, in the forward pass and in the backward pass.

In the forward pass it is the innermost running module. In the backward pass it is the module whose
forward pass created the running autograd node: autograd numbers nodes in the order of creation.
Tensors get no hooks, so nothing that autograd does changes.
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
"""The path of the module that is called; those inside it have the paths of `named_modules`."""

_autograd: Any = torch.autograd


@dataclass(frozen=True, slots=True)
class _Running:
    """A running module: its path, and the id of the backward pass that called it, -1 if none."""

    module: nn.Module
    path: str
    graph_task: int


class ModuleCalls:
    """Tracks which modules are running.

    The path of a module is that of its caller and its name in the caller, so a module that two
    others share has two paths. A module that is not inside its caller also gets the path of its
    caller, followed by the last part of its name in an outer module, or else by its class.
    """

    def __init__(self) -> None:
        self._running: list[_Running] = []
        self._paths: defaultdict[nn.Module, dict[str, None]] = defaultdict(dict)
        self._names: dict[nn.Module, dict[nn.Module, str]] = {}
        self._hooks = ExitStack()
        self._thread = 0
        # Nodes with sequence numbers from _first_nodes[i] on were created in _node_paths[i].
        self._first_nodes = [0]
        self._node_paths = [ROOT]
        self._next_node = 0

    def __enter__(self) -> ModuleCalls:
        self._thread = threading.get_ident()
        self._next_node = _autograd._get_sequence_nr()
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
        """The path of the module that is running, forward or backward."""
        path = self._current_path()
        if threading.get_ident() == self._thread:
            self._assign_new_nodes(path)
        return path

    def _current_path(self) -> str:
        caller = self._caller()
        if caller is not None:
            return caller.path
        node: Any = torch._C._current_autograd_node()
        if node is None:
            return ROOT
        return self._node_paths[bisect_right(self._first_nodes, node._sequence_nr()) - 1]

    def _assign_new_nodes(self, path: str) -> None:
        """Assign nodes created since the last call to this path."""
        next_node = _autograd._get_sequence_nr()
        if next_node > self._next_node and path != self._node_paths[-1]:
            self._first_nodes.append(self._next_node)
            self._node_paths.append(path)
        self._next_node = next_node

    def _caller(self) -> _Running | None:
        """The innermost running module; None in a backward pass that started inside it."""
        innermost = self._running[-1] if self._running else None
        task = torch._C._current_graph_task_id()
        return innermost if innermost is not None and innermost.graph_task == task else None

    def _enter(self, module: nn.Module, args: Any) -> None:
        current_path = self.module_path()
        path = self._path_of(module, self._caller(), current_path)
        self._paths[module][path] = None
        self._running.append(_Running(module, path, torch._C._current_graph_task_id()))

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self.module_path()
        if self._running and self._running[-1].module is module:
            self._running.pop()

    def _path_of(self, module: nn.Module, caller: _Running | None, current_path: str) -> str:
        if caller is not None:
            return _joined(caller.path, self._name(module, caller))
        if torch._C._current_graph_task_id() == -1:
            return ROOT
        # A checkpoint runs the module again, in the backward pass of the part that contains it.
        earlier = list(self._paths[module])
        nearest = [path for path in earlier if _are_nested(path, current_path)]
        return (nearest or earlier or [current_path])[-1]

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


def _are_nested(path: str, reference: str) -> bool:
    """Whether one of two modules is inside the other."""
    return _is_inside(path, reference) or _is_inside(reference, path)


def _is_inside(path: str, outer: str) -> bool:
    return f"{path}.".startswith(f"{outer}." if outer else "")
