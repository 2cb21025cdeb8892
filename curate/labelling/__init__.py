"""Labels that no class folder says: read from file names, folders further down, and tables."""
