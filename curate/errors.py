"""The one exception that is meant for the user's eyes, and words for those of others."""


class UserError(Exception):
    """Something the user can put right: one sentence that says what, which file, what to do.

    The command line prints the sentence without a traceback and exits with code 2.
    """


def why_no_value(error: ValueError | RecursionError) -> str:
    """Why a text of JSON or TOML gives no value. Of a number that is too long, Python tells how to set its limits."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "a number in it has thousands of digits" if "int_max_str_digits" in str(error) else str(error)
