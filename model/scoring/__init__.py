"""Tracks of a video to logits."""
