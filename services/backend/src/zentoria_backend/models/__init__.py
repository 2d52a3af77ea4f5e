"""The models that may answer."""
