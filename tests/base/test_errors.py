"""The exception for the user, and how others are quoted in it."""

import pytest

from pipeline.base.errors import UserError, one_line


def test_what_cannot_be_printed_is_escaped() -> None:
    assert str(UserError("a\nb\x1b[31m: no ü")) == "a\\nb\\x1b[31m: no ü"


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("a plain text", 160, "a plain text"),
        ("  two\n\tlines \r\n", 160, "two lines"),
        ("x" * 500, 160, "x" * 160),
        ("one  two", 5, "one t"),
        ("", 160, "StrangeError"),
        (" \n ", 160, "StrangeError"),
    ],
)
def test_an_exception_on_one_line(text: str, limit: int, expected: str) -> None:
    class StrangeError(Exception):
        """An exception of another kind."""

    assert one_line(StrangeError(text), limit) == expected
