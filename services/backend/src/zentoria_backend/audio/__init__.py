"""Speech: written down, and spoken."""
