"""The decoder, its key-value cache, and Hugging Face directories in and out."""
