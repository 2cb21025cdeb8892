"""How files are read, written, moved and locked: each job in one place, for all packages."""
