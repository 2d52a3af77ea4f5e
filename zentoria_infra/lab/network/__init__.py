"""The lab's ways in and out."""
