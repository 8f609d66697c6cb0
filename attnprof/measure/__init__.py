"""Runs, counts, times and profiles: where kernels, counters and clocks meet."""
