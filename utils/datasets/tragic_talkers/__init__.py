"""Tragic Talkers: recordings of microphone arrays with labels."""
