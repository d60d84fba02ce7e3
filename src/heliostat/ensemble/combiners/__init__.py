"""How members and weights are chosen."""
