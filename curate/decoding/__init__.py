"""What `curate/image.py` needs to know of files' bytes: formats, what may be missing, where a picture ends."""
