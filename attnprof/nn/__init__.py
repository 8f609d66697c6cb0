"""Attention modules for general use, independent of profiling."""
