"""Everything that has no weights: stages, sources, measures."""
