"""How long tests wait for what must come: so long that only a fault, and no load, exceeds it."""

PATIENCE_SECONDS = 600.0
