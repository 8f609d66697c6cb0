"""Worker processes, and what becomes of them."""
