"""Documents: files whose text is read, page by page, so that it is found."""
