"""A command line that is printed for the user to run."""

from curate.shell import command_line

__all__ = ["command_line"]
