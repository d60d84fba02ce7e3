"""Which trial runs next, and how far."""
