"""Documents: read, kept, deleted."""
