"""What features say of pictures and labels: evidence out of folds, chances, neighbours, classes, suspects."""
