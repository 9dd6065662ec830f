"""Frames to shots, face tracks and crops; which faces are neighbours."""
