"""What tells near-duplicates apart from look-alikes: fingerprints, candidates, a second look."""
