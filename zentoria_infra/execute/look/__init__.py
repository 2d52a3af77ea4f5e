"""Reading what is there, never writing."""
