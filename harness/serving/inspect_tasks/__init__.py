"""Tasks of Inspect (UK AISI) as episodes: another process plays them, its logs are read."""
