"""Images with annotated faces, for training face detectors."""
