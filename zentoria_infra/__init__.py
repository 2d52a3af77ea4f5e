"""Zentoria Personal Edition: from an inventory to a running AI stack on Proxmox VE."""

__version__ = "0.1.0"
