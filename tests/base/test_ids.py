"""Ids of images: safe as names of folders, and no two alike."""

import re

import pytest
from small_stores import fault

from pipeline.base.ids import LONGEST_ID, safe_id, unique_ids


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photo.png", "photo"),
        ("IMG_0001.JPG", "IMG_0001"),
        ("a.tar.png", "a.tar"),
        ("two words.png", "two_words"),
        ("a-b_c.9.tif", "a-b_c.9"),
        ("größe.png", "gr__e-d353a2671b"),
        ("ﬁle.png", "file"),
        (".hidden.png", "_hidden"),
        ("...dots.png", "_dots"),
        ("..", "_"),
        (".", "_"),
        ("", "_"),
        ("a/b/../c.png", "c"),
        ("a\\b:c*?.png", "a_b_c__"),
        ("写.png", "_-eecaf7bb13"),
        ("写真.png", "x__-9c3250ff63"),
        ("__a.png", "x__a"),
        ("zarr.json.png", "xzarr.json"),
        ("new\nline.png", "new_line"),
    ],
)
def test_safe_id(name: str, expected: str) -> None:
    made = safe_id(name)
    assert made == expected
    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", made)
    assert not made.startswith("__")  # reserved in Zarr 3


def test_names_beyond_ascii_do_not_collide() -> None:
    """Photographs of one day, of which an id holds no letter."""
    names = ["京都の夏.jpg", "大阪の冬.jpg", "東京の秋.jpg", "é.png", "è.png", "Ж.tif", "Щ.tif"]
    assert len(set(unique_ids(names))) == len(names)
    long = ["写" * 300 + end for end in "ab"]
    ids = unique_ids(long)
    assert ids[0] != ids[1] and {len(image_id) for image_id in ids} == {LONGEST_ID}


def test_unique_ids() -> None:
    assert unique_ids(["b.png", "a.jpg", "a b.png", "a.b.png"]) == ["b", "a", "a_b", "a.b"]
    assert unique_ids([]) == []


@pytest.mark.parametrize(
    ("first", "second", "image_id"),
    [
        ("a.png", "a.jpg", "a"),
        ("a.png", "A.png", "A"),
        ("a b.png", "a_b.png", "a_b"),
        ("a.png", "other/a.png", "a"),
        ("é.png", "e\u0301.png", "_-4a99557e40"),
        ("a.png", "a.png", "a"),
    ],
)
def test_collisions(first: str, second: str, image_id: str) -> None:
    message = fault(lambda: unique_ids(["x.png", first, "y.png", second]))
    assert message == f"{first} and {second} would both be called '{image_id}'; rename one"
