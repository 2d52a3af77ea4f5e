"""What the site consists of, and what is known of it."""
