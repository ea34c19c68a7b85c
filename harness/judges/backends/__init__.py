"""Judge models and other jurors: one per file, `<x>.py` with a factory `<x>(target)`."""
