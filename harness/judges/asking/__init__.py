"""Judging a run: who is asked (judge models), the questions, and the scores that come of them."""
