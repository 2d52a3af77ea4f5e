"""Sign-in by others: OpenID Connect providers, GitHub, a directory."""
