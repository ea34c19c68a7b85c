"""Contamination: text that training rows and evaluation cases have in common."""
