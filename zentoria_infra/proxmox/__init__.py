"""The client of Proxmox VE 8.4 and 9: its API, and ``pct`` over SSH."""

from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.proxmox.connection import ApiToken, Credentials, Endpoint, Password, RetryPolicy
from zentoria_infra.proxmox.secret import Secret
from zentoria_infra.proxmox.shell.ssh import SshTarget

__all__ = ["ApiToken", "Credentials", "Endpoint", "Password", "Proxmox", "RetryPolicy", "Secret", "SshTarget"]
