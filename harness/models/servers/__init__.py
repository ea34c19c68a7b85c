"""Model servers: those that tunegate starts itself, and proof of what any server computes with."""
