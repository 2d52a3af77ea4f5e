"""Migrations, a folder for each database."""
