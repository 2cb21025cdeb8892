"""The page on which a person looks at what is proposed, and decides: its queues, pictures and decisions as JSON."""
