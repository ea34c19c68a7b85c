"""Judge models and other jurors: one a file, `<x>.py` with a factory `<x>(target)`."""
