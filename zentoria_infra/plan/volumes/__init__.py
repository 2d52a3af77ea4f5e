"""Which mount point is which volume, and what a change hides."""
