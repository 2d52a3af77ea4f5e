"""The prober: a program that runs inside a guest for a moment. Standard library only; nothing of it is kept there."""
