"""GGUF files: read, unpacked for Transformers, or computed by llama.cpp."""
