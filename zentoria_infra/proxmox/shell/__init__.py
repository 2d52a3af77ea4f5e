"""What goes over SSH."""
