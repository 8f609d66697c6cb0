"""The commands there are, in the order of the help."""

from __future__ import annotations

SUMMARIES = {
    "estimate": "Cost attention by closed forms: instant, no torch, any length.",
    "compare": "Run real kernels: MACs by every counter, peak memory, time.",
    "audit": "Every counter against what is multiplied, each difference by name.",
    "breakdown": "Where the MACs are: by module and by operator, and how each part grows.",
    "kernels": "List the kernels, and why some cannot be built here or for these options.",
    "doctor": "The machine in a page: what it is, how fast, how noisy, and what helps.",
    "guard": "Complexity contracts: what code may cost, and how that may grow, for CI to enforce.",
}
"""By name, the first line of a command's help: each is a module of that name in this folder."""
