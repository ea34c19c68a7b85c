"""Paired comparison of two arms: score tables, pairs, deltas with intervals."""
