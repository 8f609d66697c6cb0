"""Imports the code of one revision of a project, wherever its installed packages point to.

An editable install, `PYTHONPATH` and `.pth` files all lead to the user's checkout. What they find
there is imported from the same place of another folder, which has the files of a revision.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

_OWN = "attnprof"
"""This package, which is the same for every revision, also where the project is attnprof itself."""

_PACKAGE_FOLDERS = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))


@dataclass(frozen=True, slots=True)
class SourceTree:
    """Where the files of a revision are.

    Attributes:
        root: the folder that has them.
        checkout: the user's checkout; equal to `root` for the files as they are there.
        folder: the current folder of the code, in `root`.
    """

    root: Path
    checkout: Path
    folder: Path

    @property
    def is_checkout(self) -> bool:
        """Whether these are the files of the user's checkout."""
        return self.root == self.checkout


def redirect_imports(tree: SourceTree) -> None:
    """Import from a revision's files in this process, from now on.

    First the current folder and its `src`, then the search path as it is, in the end the root and
    its `src`. A module whose file git ignores, such as a compiled extension or `_version.py`, is
    imported from the checkout if the revision does not have it. Nothing is written beside modules.
    """
    sys.dont_write_bytecode = True
    known = [_moved(Path(entry), tree) for entry in sys.path if entry]
    first, last = ([folder, folder / "src"] for folder in (tree.folder, tree.root))
    folders = [*first, *(path for path in known if path is not None), *last]
    sys.path[:] = list(dict.fromkeys(str(folder) for folder in folders))
    sys.path_importer_cache.clear()
    if not tree.is_checkout:
        sys.meta_path.insert(0, _Redirecting(tree))
    importlib.invalidate_caches()


def files_elsewhere(tree: SourceTree) -> dict[str, Path]:
    """The files of imported modules that are neither the revision's nor an installed package's."""
    return {
        name: file
        for name, file in _files()
        if not file.is_relative_to(tree.root) and file.is_file()
    }


def stale_files(tree: SourceTree) -> dict[str, Path]:
    """The files of imported modules that belong to the checkout's revision instead of this one.

    There are none unless an import cannot be redirected, as that of a module that was loaded
    before.
    """
    if tree.is_checkout:
        return {}
    return {
        name: file
        for name, file in _files()
        if _inside_checkout(file, tree) and not _is_ignored(file, tree)
    }


def is_installed(file: Path) -> bool:
    """Whether a file belongs to Python or to an installed package."""
    path = str(file)
    return path.startswith(_installed_folders()) or any(part in path for part in _PACKAGE_FOLDERS)


def file_of(name: str) -> Path | None:
    """The file of an imported module; None where it has none."""
    file = _file(sys.modules.get(name))
    return None if file is None else file.resolve()


class _Redirecting(MetaPathFinder):
    """Finds in the revision's files what other finders find in the checkout."""

    def __init__(self, tree: SourceTree) -> None:
        self._tree = tree

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of a module; None if nothing finds it.

        Raises:
            ModuleNotFoundError: if the checkout has it and the revision does not.
        """
        if fullname.partition(".")[0] == _OWN:
            return None
        is_stale = False
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = None if find is None else find(fullname, path, target)
            moved = None if spec is None else self._moved(spec)
            if moved is not None:
                return moved
            is_stale = is_stale or spec is not None
        found = self._ignored(fullname, path)
        if found is None and is_stale:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return found

    def _moved(self, spec: ModuleSpec) -> ModuleSpec | None:
        """The specification for the revision's file; None if it does not have it."""
        file = Path(spec.origin).resolve() if spec.has_location and spec.origin else None
        if file is not None:
            if not _inside_checkout(file, self._tree):
                return spec
            moved = self._tree.root / file.relative_to(self._tree.checkout)
            if not moved.exists():
                return spec if _is_ignored(file, self._tree) else None
            locations = None if spec.submodule_search_locations is None else [str(moved.parent)]
            return importlib.util.spec_from_file_location(
                spec.name, moved, submodule_search_locations=locations
            )
        if spec.submodule_search_locations is not None:
            places = [_moved(Path(place), self._tree) for place in spec.submodule_search_locations]
            spec.submodule_search_locations = [str(p) for p in places if p is not None]
            return spec if spec.submodule_search_locations else None
        return spec

    def _ignored(self, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
        """A module of a package whose file git ignores, from the checkout."""
        places = [Path(place) for place in path or ()]
        beside = [
            str(self._tree.checkout / place.relative_to(self._tree.root))
            for place in places
            if place.is_relative_to(self._tree.root)
        ]
        spec = importlib.machinery.PathFinder.find_spec(name, beside) if beside else None
        if spec is None or not spec.origin or not _is_ignored(Path(spec.origin), self._tree):
            return None
        return spec


def _moved(path: Path, tree: SourceTree) -> Path | None:
    """A folder of the search path, as a folder of the revision; None if it does not have it."""
    resolved = path.resolve()
    if tree.is_checkout or not _inside_checkout(resolved, tree):
        return path
    moved = tree.root / resolved.relative_to(tree.checkout)
    if moved.exists():
        return moved
    return path if _is_ignored(resolved, tree) else None


def _inside_checkout(file: Path, tree: SourceTree) -> bool:
    """Whether a file is one of the project's, in the checkout and not in another revision."""
    if tree.is_checkout or file.is_relative_to(tree.root):
        return False
    return file.is_relative_to(tree.checkout) and not is_installed(file)


def _is_ignored(file: Path, tree: SourceTree) -> bool:
    """Whether git ignores a file of the checkout: it belongs to no revision."""
    words = ["git", "-C", str(tree.checkout), "check-ignore", "--quiet", "--", str(file)]
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@cache
def _installed_folders() -> tuple[str, ...]:
    """Folders of Python and of installed packages; a virtual environment may be in the checkout."""
    import site

    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [sysconfig.get_path(name) for name in names]
    folders += [*site.getsitepackages(), site.getusersitepackages()]
    known = {folder for folder in folders if folder}
    known |= {str(Path(folder).resolve()) for folder in known}
    return tuple(f"{folder}{os.sep}" for folder in known)


def _files() -> Iterator[tuple[str, Path]]:
    """Names and files of imported modules that are neither installed nor of this package.

    Of a package without a file, its folders.
    """
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in (_OWN, "__main__", "__mp_main__"):
            continue
        file = _file(module)
        places = [file] if file else [Path(place) for place in getattr(module, "__path__", ())]
        yield from ((name, place.resolve()) for place in places if not is_installed(place))


def _file(module: ModuleType | None) -> Path | None:
    name = getattr(module, "__file__", None)
    return Path(name) if isinstance(name, str) else None
