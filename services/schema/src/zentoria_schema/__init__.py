"""Tables, rights and migrations of Zentoria's databases."""

__version__ = "0.1.0"
