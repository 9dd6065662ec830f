"""Entities to batches."""
