"""What a site remembers: who is at work, what was done, what was applied."""
