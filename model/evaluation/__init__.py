"""Entities of a data set to scores and average precision."""
