"""Who may do what, as the lab's API knows it."""
