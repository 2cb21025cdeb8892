"""What fits one linear layer at once: in closed form or by a convex method, its strength chosen by folds."""
