"""What a sweep weighs beside its metric."""
