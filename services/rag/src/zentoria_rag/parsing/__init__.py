"""Files to pages of text, in a process that may die."""
