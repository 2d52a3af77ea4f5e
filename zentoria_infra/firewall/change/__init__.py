"""From the rules that are there to those that shall be."""
