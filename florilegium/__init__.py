"""From class names and search queries to an image classifier one can trust: scrape, clean, split, train, predict."""

from curate.program import __version__

__all__ = ["__version__"]
