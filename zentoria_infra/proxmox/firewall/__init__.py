"""Proxmox's firewall: read and written."""
