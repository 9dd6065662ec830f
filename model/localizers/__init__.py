"""Networks that hear where somebody speaks, one a file; a file's name is its network's name."""
