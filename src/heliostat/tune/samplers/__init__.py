"""Which settings are tried next."""
