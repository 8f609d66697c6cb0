"""Worker processes, and the outcomes of the functions that they run."""
