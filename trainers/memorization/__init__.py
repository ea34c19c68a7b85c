"""What a fine-tune remembers of its rows: cases on the values in them, and planted canaries."""
