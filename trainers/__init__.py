"""Fine-tuning: thin wrappers over TRL, with its names and YAML, and a record of what was done."""
