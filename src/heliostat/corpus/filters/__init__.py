"""What a row must pass; every dropped row has a reason word."""
