"""Which audio streams and channels of a file are heard, and their samples piece by piece."""
