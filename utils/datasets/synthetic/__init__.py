"""Animated portraits with synthetic speech."""
