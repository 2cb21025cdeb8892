"""How `scrape` hunts: queries, candidates, findings, judgement and yield."""
