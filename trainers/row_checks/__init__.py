"""Checks of training rows, one subject a file: tokens, texts, and the suite's cases."""
