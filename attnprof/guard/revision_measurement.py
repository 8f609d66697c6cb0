"""Measures a contract on the files of one revision, in a worker process."""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from attnprof import kernels
from attnprof.core.errors import code_under_test
from attnprof.guard.contract import Contract
from attnprof.guard.measurement import ContractCosts, measure
from attnprof.isolation.redirected_imports import (
    SourceTree,
    file_of,
    files_elsewhere,
    is_installed,
    redirect_imports,
    stale_files,
)
from attnprof.kernels import custom
from attnprof.kernels.custom.reference import Reference, parse_reference

_MAX_NAMES = 3


@dataclass(slots=True)
class RevisionCosts:
    """Costs at one revision; can be pickled.

    Attributes:
        costs: as a check of the contract measures them.
        absent: why the revision does not have the target; empty if it has it.
        file: the target's file, relative to the root; empty where it is not the project's.
        elsewhere: digests of imported files that are neither the revision's nor an installed
            package's, by path.
        installed: modules imported from installed packages of which the revision has files.
    """

    costs: ContractCosts = field(default_factory=ContractCosts)
    absent: str = ""
    file: str = ""
    elsewhere: dict[str, str] = field(default_factory=dict[str, str])
    installed: tuple[str, ...] = ()


def measure_revision(
    contract: Contract, tree: SourceTree, packages: Collection[str]
) -> RevisionCosts:
    """Measure a contract in its own process, on the files of a revision.

    Args:
        contract: what to measure.
        tree: where these files are.
        packages: names of Python packages and modules that the revision has.
    """
    absent = prepare_revision(contract, tree)
    if absent:
        return RevisionCosts(absent=absent)
    costs = measure(contract, tree.folder)
    installed = tuple(sorted(_installed_instead(packages)))
    problem = _misplaced(contract, tree, installed)
    if problem:
        costs = ContractCosts(problem=problem, problem_kind="measurement")
    return RevisionCosts(
        costs=costs,
        file=_target_file(contract, tree),
        elsewhere=digests(files_elsewhere(tree).values()),
        installed=installed,
    )


def prepare_revision(contract: Contract, tree: SourceTree) -> str:
    """Have this process import from a revision; why it does not have the target, or empty."""
    if not tree.folder.is_dir():
        return f"there is no folder {tree.folder.relative_to(tree.root)}"
    os.chdir(tree.folder)
    redirect_imports(tree)
    if not kernels.is_custom(contract.target):
        return ""
    reference = parse_reference(contract.target)
    if reference.kind == "config":
        is_there = reference.location in custom.PUBLISHED or Path(reference.location).exists()
        return "" if is_there else f"there is no {reference.location}"
    return _missing_name(reference)


def digests(files: Collection[Path]) -> dict[str, str]:
    """SHA-256 of files, by path; empty for one that cannot be read."""
    found: dict[str, str] = {}
    for file in files:
        try:
            found[str(file)] = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError:
            found[str(file)] = ""
    return found


def _missing_name(reference: Reference) -> str:
    """Which part of a Python reference does not exist; other failures of an import are no absence.

    They are reported when the target is measured.
    """
    location = reference.location
    try:
        with code_under_test():
            owner: object = importlib.import_module(location)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        is_own = location == missing or location.startswith(f"{missing}.")
        return f"there is no module {missing}" if missing and is_own else ""
    except Exception:
        return ""
    for name in reference.inner.split("."):
        if not hasattr(owner, name):
            return f"{location} has no {name}"
        owner = getattr(owner, name)
    return ""


def _module_of(contract: Contract) -> str:
    """The module of a target; empty where it is no Python object."""
    if not kernels.is_custom(contract.target):
        return ""
    reference = parse_reference(contract.target)
    return reference.location if reference.kind == "python" else ""


def _target_file(contract: Contract, tree: SourceTree) -> str:
    """The target's file, relative to the root; empty where it is not in the revision's files."""
    module = _module_of(contract)
    if module:
        file = file_of(module)
    elif kernels.is_custom(contract.target):
        file = Path(parse_reference(contract.target).location).resolve()
        file = file / "config.json" if file.is_dir() else file
    else:
        return ""
    if file is None or not file.is_relative_to(tree.root):
        return ""
    return str(PurePosixPath(file.relative_to(tree.root)))


def _installed_instead(packages: Collection[str]) -> set[str]:
    """Names of imported packages that come from installed ones although the revision has them."""
    found: set[str] = set()
    for name in packages:
        file = file_of(name)
        if name != "attnprof" and file is not None and is_installed(file):
            found.add(name)
    return found


def _misplaced(contract: Contract, tree: SourceTree, installed: Collection[str]) -> str:
    """Why what was measured is not the revision's code; empty if it is."""
    stale = stale_files(tree)
    if stale:
        names = ", ".join(sorted(stale)[:_MAX_NAMES])
        return (
            f"{names}: imported from the checkout, not from the revision, because it was loaded "
            f"before; set PYTHONPATH to its folder instead of installing it"
        )
    package = _module_of(contract).partition(".")[0]
    if package in installed:
        return (
            f"{package} is imported from an installed copy, {file_of(package)}, not from the "
            f"revision; pip install -e it, or set PYTHONPATH to its folder"
        )
    return ""
