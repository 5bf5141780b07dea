"""The one exception that is meant for the user."""


class UserError(Exception):
    """A mistake the user can mend: one sentence that names the file or setting and the fault.

    The commands print it and exit with a non-zero status; every other exception is a bug.
    """
