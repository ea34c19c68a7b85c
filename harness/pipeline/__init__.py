"""One run from models to verdict: plan, completions, scores, decision, files."""

from pathlib import Path

STORE = Path(".tunegate/store.sqlite")
"""The project's stored answers, shared by every command that asks models."""
