"""Sandboxes: programs out of a model's answer run here, never in tunegate's own process.

One sandbox a file, made by others: bubblewrap, Docker, Podman. Each has `SANDBOX`.
"""
