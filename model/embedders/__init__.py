"""One face embedder a file; the file name is its name on the command line."""
