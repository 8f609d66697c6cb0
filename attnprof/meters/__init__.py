"""Time and peak memory of calls, measured."""
