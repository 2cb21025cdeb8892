"""Each a command that prints a table: us, the peers and the limit, in one run."""
