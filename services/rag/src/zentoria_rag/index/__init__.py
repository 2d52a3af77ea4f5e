"""Where the nearest passages are found: one interface, two indexes."""
