"""Numbers that compare predictions with targets; used by train, tune, evaluate and watch alike."""
