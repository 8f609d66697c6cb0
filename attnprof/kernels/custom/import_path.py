"""Names by which other processes can import an object of this one."""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder


def importable_name(thing: object) -> str:
    """`pkg.mod:name` of a class or a function; empty where other processes cannot import it so.

    What was defined in the running script, in a notebook or inside a function has no such name, and
    neither has an instance.
    """
    module, path = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not (isinstance(module, str) and isinstance(path, str)) or module == "__main__":
        return ""
    if not all(word.isidentifier() for word in (*module.split("."), *path.split("."))):
        return ""
    imported: object = sys.modules.get(module)
    for word in path.split("."):
        imported = getattr(imported, word, None)
    if imported is not thing or PathFinder.find_spec(module.partition(".")[0], None) is None:
        return ""
    return f"{module}:{path}"
