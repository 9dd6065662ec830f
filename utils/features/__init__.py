"""Audio features: waveform slice to (steps, bins), one file a feature."""
