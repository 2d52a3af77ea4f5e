"""The lab's node filters packets as Proxmox does: from the same files, read here and nowhere else in the project."""
