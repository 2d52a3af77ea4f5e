"""Accounts: names, passwords, and the program that manages them."""
