"""Images with marked faces, for training face detectors."""
