"""From flows to rules."""
