"""Sets of ports, addresses and protocols."""
