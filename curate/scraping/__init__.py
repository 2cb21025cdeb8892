"""How `scrape` works: queries, candidates and their store, the crawler, the deduplicator, and the yield report."""
