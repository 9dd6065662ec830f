"""Training: trainer, losses, recipes, runs, data preparation and the command."""
