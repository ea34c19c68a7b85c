"""One run from models to verdict: plan, completions, scores, decision, files."""
