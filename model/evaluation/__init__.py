"""Score the entities of a data set and compute average precision."""
