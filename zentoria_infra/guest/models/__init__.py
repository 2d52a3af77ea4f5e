"""What runs in a guest to look after files of models, with the standard library alone."""
