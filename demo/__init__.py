"""The main job on a drawn garden: what `cli.py demo` does, offline."""
