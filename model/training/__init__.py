"""Trainer, losses, recipes, runs, data preparation and the training command."""
