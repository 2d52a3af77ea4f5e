"""Containers, as the lab's API knows them."""
