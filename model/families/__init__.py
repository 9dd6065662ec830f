"""One object per kind of network: its scorer, loader, splits, evaluation and forward pass."""
