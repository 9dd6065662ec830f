"""Choose the audio streams and channels of a file, and read their samples piece by piece."""
