"""Timeouts of tests: so long that only a hang exceeds them, not a loaded machine."""

PATIENCE_SECONDS = 600.0
