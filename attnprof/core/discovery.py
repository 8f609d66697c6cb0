"""Names of the modules in a folder, without importing them."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable


def module_names(folder: Iterable[str]) -> tuple[str, ...]:
    """The public modules of a package, in alphabetical order.

    Args:
        folder: the `__path__` of the package.
    """
    names = (module.name for module in pkgutil.iter_modules(folder))
    return tuple(name for name in names if not name.startswith("_"))
