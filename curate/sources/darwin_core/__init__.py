"""Darwin Core archives: what their descriptor says of their tables, and the rows of these, read inside the zip."""
