"""Names of Python packages in a revision's files, and the earlier names of renamed targets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from attnprof.kernels.custom.reference import parse_reference

_PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")
_SOURCE_FOLDERS = ("", "src", "lib", "python")


def packages_in(files: Iterable[PurePosixPath], folder: PurePosixPath) -> set[str]:
    """Names of packages and modules that a revision's projects have.

    Args:
        files: of the revision, relative to its root.
        folder: where contracts are measured, relative to the root.
    """
    known = list(files)
    projects = {PurePosixPath(), folder}
    projects |= {file.parent for file in known if file.name in _PROJECT_FILES}
    places = {project / source for project in projects for source in _SOURCE_FOLDERS}
    packages = {
        file.parent.name
        for file in known
        if file.name == "__init__.py" and file.parent.parent in places
    }
    modules = {file.stem for file in known if file.suffix == ".py" and file.parent in places}
    return {name for name in packages | modules if name.isidentifier() and name != "setup"}


def renamed(target: str, file: str, before: str) -> str | None:
    """The target's name before its file was renamed; None if it had none that could be imported.

    Args:
        target: a reference to a Python object or a config.
        file: its file, relative to the root.
        before: the earlier path of that file.
    """
    reference = parse_reference(target)
    if reference.kind == "config":
        location = _relocated(reference.location, file, before)
    else:
        location = _module_before(reference.location, PurePosixPath(file), PurePosixPath(before))
    return None if location is None else target.replace(reference.location, location, 1)


def _relocated(location: str, file: str, before: str) -> str | None:
    """The earlier path of a config, relative to the same folder; None if it is not below it."""
    if not file.endswith(location) or file == location:
        return before if file == location else None
    folder = file.removesuffix(location)
    return before.removeprefix(folder) if before.startswith(folder) else None


def _module_before(module: str, file: PurePosixPath, before: PurePosixPath) -> str | None:
    """The earlier name of a module, with the same folder on the search path."""
    parts = module.split(".")
    path = file.parent if file.name == "__init__.py" else file.with_suffix("")
    root = path.parts[: len(path.parts) - len(parts)]
    earlier = before.parent if before.name == "__init__.py" else before.with_suffix("")
    inside = earlier.parts[: len(root)] == root and len(earlier.parts) > len(root)
    names = earlier.parts[len(root) :] if inside else earlier.parts
    return ".".join(names) if all(name.isidentifier() for name in names) else None
