"""One run from models to verdict: plan, completions, scores, decision, files."""

from pathlib import Path

from tunegate.harness.records import defaults

STORE = Path(defaults.STORE)
"""The project's stored answers, shared by every command that asks models."""
