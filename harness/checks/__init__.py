"""Checks before a number is believed: safe files, a live adapter, comparable prompts."""
