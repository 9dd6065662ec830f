"""One face detector a file."""
