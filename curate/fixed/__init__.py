"""Datasets whose files stay as they lie: exports in shards, and folders on other machines."""
