"""Microphone arrays: audio, geometry, localisation, fusion with faces."""
