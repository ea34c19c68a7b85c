"""Model backends: one kind of model spec a file; `pair.open_arms` opens all arms of a run."""
