"""Imports lead to the files of a revision, however the project is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PREAMBLE = """
import importlib.util, sys
from pathlib import Path
from attnprof.isolation.redirected_imports import *

checkout, other = Path("checkout").resolve(), Path("other").resolve()
tree = SourceTree(other, checkout, other)


class Finder:
    'As that of an editable install, which knows where each package is.'

    def __init__(self, **places):
        self.places = places

    def find_spec(self, name, path=None, target=None):
        if name not in self.places:
            return None
        file = checkout / self.places[name]
        locations = [str(file.parent)] if file.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            name, file, submodule_search_locations=locations
        )
"""


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout and the files of another revision, of a package in `src`."""
    for folder in ("checkout", "other"):
        write(
            tmp_path / folder,
            {
                "src/pkg/__init__.py": f"where = {folder!r}\n",
                "src/pkg/deep/part.py": f"where = {folder!r}\n",
                ".gitignore": "built.py\n.deps\n.venv\n",
            },
        )
    subprocess.run(["git", "init", "-q", str(tmp_path / "checkout")], check=True)
    subprocess.run(["git", "-C", str(tmp_path / "checkout"), "add", "."], check=True)
    return tmp_path


def printed(folder: Path, code: str, **environment: str) -> list[str]:
    """What a new process prints."""
    paths = os.pathsep.join(filter(None, (environment.pop("PYTHONPATH", ""), str(ROOT))))
    done = subprocess.run(
        [sys.executable, "-P", "-c", PREAMBLE + textwrap.dedent(code)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


IMPORTED = """
redirect_imports(tree)
import pkg, pkg.deep.part
print(pkg.where, pkg.deep.part.where, stale_files(tree))
"""


@pytest.mark.parametrize(
    "install",
    [
        "sys.path.append(str(checkout / 'src'))",
        "sys.path.insert(0, str(checkout / 'src'))",
        "sys.meta_path.append(Finder(pkg='src/pkg/__init__.py'))",
        "sys.meta_path.insert(0, Finder(pkg='src/pkg/__init__.py'))",
        "",
    ],
    ids=["path", "first on the path", "finder", "first finder", "not installed"],
)
def test_the_files_of_the_revision_are_imported(project: Path, install: str) -> None:
    assert printed(project, install + IMPORTED) == ["other other {}"]


def test_a_link_tree_leads_to_the_files_of_the_revision(project: Path) -> None:
    links = project / "checkout" / "build" / "pkg"
    links.mkdir(parents=True)
    (links / "__init__.py").symlink_to(project / "checkout" / "src" / "pkg" / "__init__.py")
    (links / "deep").symlink_to(project / "checkout" / "src" / "pkg" / "deep")
    code = "sys.path.insert(0, str(checkout / 'build'))"
    assert printed(project, code + IMPORTED) == ["other other {}"]


def test_pythonpath_leads_to_the_files_of_the_revision(project: Path) -> None:
    path = str(project / "checkout" / "src")
    assert printed(project, IMPORTED, PYTHONPATH=path) == ["other other {}"]


def test_what_only_the_checkout_has_is_not_found(project: Path) -> None:
    write(project / "checkout", {"src/added.py": "", "src/pkg/added.py": ""})
    code = """
        sys.path.append(str(checkout / "src"))
        sys.meta_path.insert(0, Finder(**{"pkg": "src/pkg/__init__.py", "added": "src/added.py"}))
        redirect_imports(tree)
        for name in ("added", "pkg.added"):
            try:
                __import__(name)
            except ModuleNotFoundError as error:
                print(error.name)
    """
    assert printed(project, code) == ["added", "pkg.added"]


def test_what_git_ignores_comes_from_the_checkout(project: Path) -> None:
    files = {"src/pkg/built.py": "where = 'built'", ".deps/dep.py": "where = 'dependency'"}
    write(project / "checkout", files)
    code = """
        sys.path.append(str(checkout / ".deps"))
        redirect_imports(tree)
        import dep, pkg.built
        print(dep.where, pkg.built.where, pkg.where, stale_files(tree))
        print(sorted(file.name for file in files_elsewhere(tree).values()))
    """
    assert printed(project, code) == ["dependency built other {}", "['built.py', 'dep.py']"]


def test_an_environment_inside_the_checkout_is_left_alone(project: Path) -> None:
    packages = ".venv/lib/python3/site-packages"
    write(project / "checkout", {f"{packages}/installed.py": "where = 'installed'"})
    code = f"""
        sys.path.append(str(checkout / {packages!r}))
        redirect_imports(tree)
        import installed
        print(installed.where, is_installed(file_of("installed")), files_elsewhere(tree))
    """
    assert printed(project, code) == ["installed True {}"]


def test_a_module_that_was_loaded_before_is_reported(project: Path) -> None:
    code = """
        sys.path.append(str(checkout / "src"))
        import pkg, pkg.deep
        redirect_imports(tree)
        print(*stale_files(tree))
    """
    assert printed(project, code) == ["pkg pkg.deep"]


def test_this_package_is_never_redirected(project: Path) -> None:
    write(project / "other", {"attnprof/core/units.py": "raise SystemExit('wrong revision')"})
    code = """
        redirect_imports(SourceTree(other, Path(sys.argv[0] or ".").resolve(), other))
        import attnprof.core.units
        print("own" if "other" not in attnprof.core.units.__file__ else "other")
    """
    assert printed(project, code) == ["own"]
