"""Drawn talking heads with synthetic speech."""
