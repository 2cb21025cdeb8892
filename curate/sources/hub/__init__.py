"""Datasets on the Hugging Face hub: what it says of them, and their Parquet files, read in parts over the network."""
