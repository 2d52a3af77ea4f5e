"""What guests are made of: passwords, certificates, releases, artifacts."""
