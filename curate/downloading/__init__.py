"""How `download` brings an archive, unpacks it and lays it out."""
