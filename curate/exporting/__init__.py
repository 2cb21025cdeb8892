"""How `export` writes a dataset for other tools."""
