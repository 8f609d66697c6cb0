"""Names by which other processes can import an object that is at hand in this one."""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder


def importable_name(thing: object) -> str:
    """`pkg.mod:name` of a class or a function; empty where other processes cannot import it so.

    What was defined in a script that runs, in a notebook or inside a function has no such name, and
    neither has an object that was made.
    """
    place, path = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not (isinstance(place, str) and isinstance(path, str)) or place == "__main__":
        return ""
    if not all(word.isidentifier() for word in (*place.split("."), *path.split("."))):
        return ""
    found: object = sys.modules.get(place)
    for word in path.split("."):
        found = getattr(found, word, None)
    if found is not thing or PathFinder.find_spec(place.partition(".")[0], None) is None:
        return ""
    return f"{place}:{path}"
