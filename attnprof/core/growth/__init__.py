"""How a cost grows with length."""
