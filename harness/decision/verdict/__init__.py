"""From pairs of scores to a verdict: compare, gates, decide."""
