"""What the engines tell the user: log records, printed above the progress bars.

An engine returns its results, and the command prints them.  What an engine has to say while it
works goes to ``logging``: ``info`` for what happens, ``warning`` for what the user should know.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

ENGINES = "pipeline"
"""Logger whose ``info`` records are shown; of other libraries only warnings are."""


class AboveBars(logging.Handler):
    """Prints records on stderr, above the progress bars that are there."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record; a warning says that it is one."""
        prefix = f"{record.levelname}: " if record.levelno >= logging.WARNING else ""
        tqdm.write(prefix + record.getMessage(), file=sys.stderr)
        sys.stderr.flush()


@contextmanager
def shown() -> Iterator[None]:
    """Show the messages of the engines while a command runs."""
    root, engines, handler = logging.getLogger(), logging.getLogger(ENGINES), AboveBars()
    before = engines.level
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what matters it also raises
    root.addHandler(handler)
    engines.setLevel(logging.INFO)
    try:
        yield
    finally:
        engines.setLevel(before)
        root.removeHandler(handler)
