"""Attention modules that anyone may use; they know nothing of profiling."""
