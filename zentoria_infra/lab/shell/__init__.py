"""What the lab's node answers over SSH."""
