"""How `split` binds, draws and places groups of pictures."""
