"""How a checkpoint is written for other programs."""
