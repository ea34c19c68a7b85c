"""Local inference: continuous batching, prefix cache, speculative decoding."""
