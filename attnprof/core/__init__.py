"""What is costed and the arithmetic of it; nothing here imports torch."""
