"""One body of evidence about a predictor."""
