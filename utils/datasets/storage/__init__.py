"""Entities and features on disk."""
