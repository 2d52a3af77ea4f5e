"""Components: fetched once on the workstation, verified, cached by content, pushed from there."""
