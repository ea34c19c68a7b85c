"""Model backends: one kind of model spec a file; `open_arms.open_arms` opens all arms of a run."""
