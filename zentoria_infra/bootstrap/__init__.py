"""What Zentoria needs on a node, made once: rights, token, key."""
