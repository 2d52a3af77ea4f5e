"""What our services share: settings, logs, HTTP, health, metrics, and how they run below systemd."""
