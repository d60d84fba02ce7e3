"""Further passes through the model that make it steadier."""
