"""The agent that works inside a guest. Standard library only; Python 3.9 or newer."""
