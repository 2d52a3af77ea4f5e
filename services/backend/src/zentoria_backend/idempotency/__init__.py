"""A write that is sent twice is done once."""
