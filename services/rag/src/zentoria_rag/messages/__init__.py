"""What was said in conversations, searchable."""
