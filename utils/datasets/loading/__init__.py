"""From entities to batches."""
