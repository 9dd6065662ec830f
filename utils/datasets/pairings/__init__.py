"""Faces paired with audio, for training on synchrony."""
