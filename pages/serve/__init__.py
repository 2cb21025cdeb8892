"""A page that answers: pictures come in by HTTP, names and probabilities go out."""
