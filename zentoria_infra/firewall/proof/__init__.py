"""What rules allow, and that it is what the flows say."""
