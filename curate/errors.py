"""The one exception that is meant for the user's eyes."""


class UserError(Exception):
    """Something the user can put right: one sentence that says what, which file, what to do.

    The command line prints the sentence without a traceback and exits with code 2.
    """
