"""Fine-tuning: thin wrappers over TRL with TRL's names, TRL's YAML and a record of what was done."""
