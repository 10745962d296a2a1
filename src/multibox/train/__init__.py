"""From data and starting weights to a checkpoint."""
