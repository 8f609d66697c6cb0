"""Memory that single operators allocate inside, which no tensor holds."""
