"""A plan for eyes: text, Markdown, JSON."""
