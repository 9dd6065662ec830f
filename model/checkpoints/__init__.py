"""Find, read, build and save weights."""
