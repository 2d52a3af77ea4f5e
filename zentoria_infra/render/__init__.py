"""Every file of every guest, rendered and judged by the program that knows it."""
