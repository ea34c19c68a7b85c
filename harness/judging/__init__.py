"""Judging: asking judge models, reading their replies strictly, juries, and what is stored.

The contracts are `harness.judge` (what is asked) and `harness.judgement` (what is recorded).
"""
