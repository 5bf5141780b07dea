"""The one exception that is meant for the user."""


class UserError(Exception):
    """A mistake the user can mend: one sentence that names the file or setting and the fault.

    The commands print it and exit with a non-zero status; every other exception is a bug.  Names of
    files may hold anything: what cannot be printed on one line is shown as an escape.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


def printable(text: str) -> str:
    r"""A text with escapes, such as ``\n``, for all that is no printable character."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
