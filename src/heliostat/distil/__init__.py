"""A small student taught by a teacher's soft targets."""
