"""Microphone arrays: sound, geometry, localisation, fusion with faces."""
