"""A split dataset → a checkpoint → a prediction. May import curate, never the reverse."""
