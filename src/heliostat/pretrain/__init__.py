"""Continued pretraining on a team's own text, before the model is trained for its task."""
