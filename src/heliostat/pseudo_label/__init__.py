"""Text without labels, labelled where the run's own model is sure, and a model trained on both."""
