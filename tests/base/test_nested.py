"""Dotted keys of nested mappings."""

from pipeline.base.nested import flat


def test_values_come_in_order_with_their_dotted_keys() -> None:
    content = {"n": 2, "a": {"b": {"c": [1]}, "d": "x"}, "e": {}, "f": None}
    assert list(flat(content)) == [("n", 2), ("a.b.c", [1]), ("a.d", "x"), ("f", None)]
