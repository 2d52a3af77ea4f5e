"""Paperless-ngx, both ways: documents of ours go in, what is put in there comes out with its tags."""
