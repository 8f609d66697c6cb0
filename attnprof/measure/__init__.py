"""Runs, counts, times and profiles: the only folder where kernels, counters and clocks meet."""

from collections.abc import Callable

Observer = Callable[[str, float], None]
"""Called with the current activity and the fraction of all work done, from 0 to 1."""
