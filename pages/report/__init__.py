"""The report: what all stages found of a dataset and did with it, as one HTML file that needs nothing else."""
