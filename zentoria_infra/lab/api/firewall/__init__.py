"""The firewall's configuration: Proxmox's files, the checks of its rules, macros."""
