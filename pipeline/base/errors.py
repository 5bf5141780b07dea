"""The one exception that is meant for the user, and how other exceptions are quoted in it."""

from collections.abc import Sequence


class UserError(Exception):
    """A fault that the user can correct: one sentence that names the file or setting and the fault.

    The commands print it and exit with a non-zero status; every other exception is a bug.  Names of
    files may hold any character; those that cannot be printed on one line are shown as escapes.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


def printable(text: str) -> str:
    r"""A text with escapes, such as ``\n``, for characters that are not printable."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def listed(names: Sequence[str], most: int) -> str:
    """Names in one line, at most so many; it says how many are left out."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return printable(", ".join(names[:most])) + more


def one_line(error: BaseException, limit: int = 160) -> str:
    """What an exception says, on one line, for the message of a ``UserError``.

    Args:
        error: The exception.
        limit: Letters at most.

    Returns:
        Its text with every run of white space as one space, or the name of its type if it has no
        text.

    """
    return " ".join(str(error).split())[:limit] or type(error).__name__
