"""Programs that run on the Proxmox node itself: one file each, with nothing but Debian's python3.

Nothing imports them but what installs or starts them.
"""
