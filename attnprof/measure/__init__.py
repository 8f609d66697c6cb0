"""Runs, counts, times and profiles: where kernels, counters and clocks meet."""

from collections.abc import Callable

Observer = Callable[[str, float], None]
"""Called with what is being done, and with the part of all work that is done, from 0 to 1."""
