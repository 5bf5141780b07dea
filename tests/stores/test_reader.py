"""Reading of stores: what was written comes back, from anywhere; damage is done byte by byte."""

import json
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import zarr
from small_stores import KINDS, contents, fault, one, picture, root_json, write

from pipeline.base.boxes import Box
from pipeline.base.errors import UserError
from pipeline.stores import format
from pipeline.stores.format import Kind
from pipeline.stores.reader import Store, require_same_scale
from pipeline.writing.writer import StoreWriter

# What is written is read


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(tmp_path: Path, kind: Kind) -> None:
    images = contents(kind)
    store = write(tmp_path / "a.zarr", kind, images)
    assert store.ids == list(images)
    assert store.scale == 4
    for image_id, arrays in images.items():
        first = next(iter(arrays.values()))
        assert store.size(image_id) == first.shape[1:]
        for name, array in arrays.items():
            result = store.read(image_id, name)
            assert result.dtype == array.dtype
            np.testing.assert_array_equal(result, array)
            assert store.array(image_id, name).shape == array.shape
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


@pytest.mark.parametrize("box", [Box(0, 8, 0, 12), Box(2, 3, 5, 11), Box(7, 8, 0, 1)])
def test_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, box: Box) -> None:
    monkeypatch.setitem(format.CHUNK, "hr", 5)
    images = contents("hr")
    store = write(tmp_path / "a.zarr", "hr", images)
    expected = images["one"]["image"][:, box.top : box.bottom, box.left : box.right]
    np.testing.assert_array_equal(store.read("one", "image", box), expected)


def test_empty_store(tmp_path: Path) -> None:
    store = write(tmp_path / "a.zarr", "val", {})
    assert store.ids == []
    assert Store(tmp_path / "a.zarr", "val").attributes["shapes"] == {}


# Damage


def chunk_file(store: Store, row: int = 0, column: int = 0) -> Path:
    return Path(store.path) / "images" / "a" / "image" / "c" / "0" / str(row) / str(column)


def damaged(store: Store, chunk: str = "0/0/0") -> str:
    message = fault(lambda: store.read("a", "image"))
    assert message.startswith(
        f"{store.path}: image 'a', array 'image', chunk {chunk} is damaged: "
    ), message
    return message


def test_every_flipped_bit_of_a_chunk_is_found(tmp_path: Path) -> None:
    store = write(tmp_path / "a.zarr", "hr", one(picture(1, 2, 3)))
    path = chunk_file(store)
    whole = path.read_bytes()
    for position in range(len(whole)):
        for bit in range(8):
            content = bytearray(whole)
            content[position] ^= 1 << bit
            path.write_bytes(content)
            damaged(store)
    path.write_bytes(whole)
    np.testing.assert_array_equal(store.read("a", "image"), picture(1, 2, 3))


def test_every_truncation_of_a_chunk_is_found(tmp_path: Path) -> None:
    store = write(tmp_path / "a.zarr", "hr", one(picture(1, 2, 3)))
    path = chunk_file(store)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        damaged(store)
    for other in (whole + b"\x00", whole + whole, bytes(4), bytes(len(whole))):
        path.write_bytes(other)  # four zeros are nothing with a good checksum
        damaged(store)


def test_the_damaged_chunk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(format.CHUNK, "hr", 16)
    image = picture(1, 40, 23)
    store = write(tmp_path / "a.zarr", "hr", one(image))
    for row in range(3):
        for column in range(2):
            path = chunk_file(store, row, column)
            whole = path.read_bytes()
            content = bytearray(whole)
            content[len(content) // 2] ^= 0x10
            path.write_bytes(content)
            assert "checksum" in damaged(store, f"0/{row}/{column}")
            elsewhere = Box(0, 16, 0, 16) if row else Box(16, 40, 0, 23)
            np.testing.assert_array_equal(
                store.read("a", "image", elsewhere), image[elsewhere.slices]
            )
            path.write_bytes(whole)


@pytest.mark.parametrize("black", [False, True])
def test_a_missing_chunk_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, black: bool
) -> None:
    """Zarr itself reads it as zeros."""
    monkeypatch.setitem(format.CHUNK, "hr", 16)
    image = np.zeros((3, 40, 23), np.uint8) if black else picture(1, 40, 23)
    store = write(tmp_path / "a.zarr", "hr", one(image))
    chunk_file(store, 2, 1).unlink()
    assert damaged(store, "0/2/1").endswith("it is missing")
    assert damaged(Store(store.path, "hr"), "0/2/1").endswith("it is missing")
    box = Box(0, 40, 0, 16)
    np.testing.assert_array_equal(store.read("a", "image", box), image[box.slices])


def test_a_missing_image_is_an_error(tmp_path: Path) -> None:
    store = write(tmp_path / "a.zarr", "hr", one(picture(1, 8, 9)))
    shutil.rmtree(Path(store.path) / "images" / "a")
    message = fault(lambda: Store(store.path, "hr").read("a", "image"))
    assert message == f"{store.path}: has no array 'image' of image 'a'"


@pytest.mark.parametrize(("image_id", "name"), [("b", "image"), ("a", "mean"), ("a", "hr")])
def test_missing_array(tmp_path: Path, image_id: str, name: str) -> None:
    store = write(tmp_path / "a.zarr", "hr", one(picture(1, 8, 9)))
    expected = f"{store.path}: has no array '{name}' of image '{image_id}'"
    assert fault(lambda: store.read(image_id, name)) == expected
    assert fault(lambda: store.array(image_id, name)) == expected


# Stores that are refused


def test_no_such_store(tmp_path: Path) -> None:
    (tmp_path / "file.zarr").write_text("text")
    for name in ("nowhere.zarr", "file.zarr"):
        message = fault(lambda name=name: Store(tmp_path / name, "hr"))  # type: ignore[misc]
        assert message.startswith(f"{tmp_path / name}: there is no such store")


def test_not_a_store(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    path.mkdir()
    assert fault(lambda: Store(path, "hr")).startswith(f"{path}: is not a Zarr store: ")
    (path / "zarr.json").write_text('{"zarr_format": 3, "node')
    assert fault(lambda: Store(path, "hr")).startswith(f"{path}: cannot be read as a Zarr store: ")


@pytest.mark.parametrize("attributes", [{}, {"usrdu": 1}, {"usrdu": {"kind": "hr", "schema": 1}}])
def test_foreign_store(tmp_path: Path, attributes: dict[str, Any]) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_group(path, zarr_format=3, attributes=attributes)
    expected = f"{path}: was not written by usrdu, or is not complete"
    assert fault(lambda: Store(path, "hr")) == expected


def test_unfinished_store(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "a.zarr", "hr", 4, ["a"])
    writer.add("a", {"image": picture(1, 4, 4)})
    writer.partial.rename(tmp_path / "a.zarr")
    message = fault(lambda: Store(tmp_path / "a.zarr", "hr"))
    assert message == f"{tmp_path / 'a.zarr'}: was not written by usrdu, or is not complete"


def test_wrong_kind_and_schema(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write(path, "lr", one(picture(1, 4, 4)))
    assert fault(lambda: Store(path, "hr")) == f"{path}: has the kind lr, expected hr"
    message = f"{path}: has the kind lr, expected val or hr"
    assert fault(lambda: Store(path, "val", "hr")) == message
    assert Store(path, "val", "lr").kind == "lr"
    content = root_json(path)
    content["attributes"]["usrdu"]["schema"] = 1
    (path / "zarr.json").write_text(json.dumps(content))
    assert (
        fault(lambda: Store(path, "lr"))
        == f"{path}: has the schema 1, expected 2; run the prepare stage again"
    )


def test_require_same_scale(tmp_path: Path) -> None:
    four = write(tmp_path / "four.zarr", "hr", one(picture(1, 4, 4)))
    also = write(tmp_path / "also.zarr", "lr", one(picture(1, 4, 4)))
    two = write(tmp_path / "two.zarr", "hr", one(picture(1, 4, 4)), scale=2)
    assert require_same_scale(two) == 2
    assert require_same_scale(four, also) == 4
    message = fault(lambda: require_same_scale(four, also, two))
    assert message == f"{four.path} has the scale 4, but {two.path} has 2"


# URLs


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The folder of the test behind a web server of its own."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def in_memory(folder: Path) -> str:
    """A copy of a store in fsspec's memory."""
    fsspec.filesystem("memory").put(str(folder), "/a.zarr", recursive=True)
    return "memory://a.zarr"


@pytest.fixture(params=["file", "memory", "http"])
def url(request: pytest.FixtureRequest, tmp_path: Path, served: str) -> Iterator[str]:
    """Where the store a.zarr of the test is, once it was written."""
    write(tmp_path / "a.zarr", "hr", one(picture(1, 8, 9)))
    urls = {"file": (tmp_path / "a.zarr").as_uri(), "http": f"{served}/a.zarr"}
    yield urls.get(request.param) or in_memory(tmp_path / "a.zarr")
    fsspec.filesystem("memory").store.clear()


def test_a_store_at_a_url_is_that_of_the_folder(url: str, tmp_path: Path) -> None:
    here, there = Store(tmp_path / "a.zarr", "hr"), Store(url, "hr")
    assert there.digest == here.digest and there.ids == here.ids
    assert np.array_equal(there.read("a", "image"), picture(1, 8, 9))
    box = Box(2, 5, 1, 9)
    assert np.array_equal(there.read("a", "image", box), picture(1, 8, 9)[box.slices])
    with pytest.raises(UserError) as caught:
        Store(url, "maps")
    assert str(caught.value) == f"{url}: has the kind hr, expected maps"


def test_a_missing_chunk_at_a_url_is_named(tmp_path: Path, served: str) -> None:
    write(tmp_path / "a.zarr", "hr", one(picture(1, 8, 9)))
    store = Store(f"{served}/a.zarr", "hr")
    chunk_file(Store(tmp_path / "a.zarr", "hr")).unlink()
    assert damaged(store).endswith("it is missing")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("memory://nothing.zarr", "it has no zarr.json"),
        ("nonsense://a.zarr", "is not a URL of a store"),
        ("http://127.0.0.1:9/a.zarr", "cannot be read"),
    ],
)
def test_a_url_without_a_store(url: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        Store(url, "hr")
    assert str(caught.value).startswith(f"{url}: ") and said in str(caught.value)
