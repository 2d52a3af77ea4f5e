"""The firewall for eyes, and for other machines."""
