"""Several fine-tunes of one base: which of them to ship."""
