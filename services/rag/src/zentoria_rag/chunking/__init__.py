"""Pages to passages that an embedding model takes whole."""
