"""Many trainings, scheduled."""
