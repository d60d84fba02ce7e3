"""One page that says which model to ship and why."""
