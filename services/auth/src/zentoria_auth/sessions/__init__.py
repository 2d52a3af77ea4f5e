"""Sessions: one row for each place where somebody is signed in."""
