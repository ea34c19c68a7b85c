"""GGUF files: read, and unpacked for Transformers."""
