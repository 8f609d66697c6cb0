"""All commands, in the order of the help."""

from __future__ import annotations

SUMMARIES = {
    "estimate": "Cost attention with closed forms: instant, no torch, any length.",
    "compare": "Measure real kernels: MACs by every counter, peak memory, time.",
    "report": "Show saved results again: of one run, of a study in parts, or of runs side by side.",
    "audit": "Check every counter against the operator-level count and name each difference.",
    "breakdown": "Break MACs down by module and by operator, and show how each part grows.",
    "windows": "Compare what a model's windows need with what it executes, layer by layer.",
    "pattern": "Draw who attends to whom, and the blocks that kernels compute.",
    "kernels": "List the kernels, and why some cannot be built here or for these options.",
    "doctor": "Profile this machine: specs, throughput, noise, suggestions.",
    "guard": "Complexity contracts: limits on costs and their growth, for CI to enforce.",
}
"""First line of each command's help, by command; each is a module of that name in this folder."""
