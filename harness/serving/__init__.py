"""Serving: the arms of a comparison as an OpenAI-compatible endpoint on this machine."""
