"""What this program is called by those who run it: its version, and its command."""

__version__ = "0.1.0"

INSTALLED = __name__.startswith("florilegium.")
"""Whether this is the installed package, where all rooms lie below `florilegium`, and not the checkout."""

COMMAND = "florilegium" if INSTALLED else "cli.py"
"""What a command line begins with."""
