"""Memory that operators allocate inside, in no tensor that torch dispatches."""
