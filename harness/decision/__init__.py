"""From scores to a verdict: score tables, gates together, plans, verdicts, candidates."""
