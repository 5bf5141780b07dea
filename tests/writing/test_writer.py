"""Writing of stores: what lies on disk is read without the code under test."""

import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import google_crc32c
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from small_stores import (
    KINDS,
    PARTS,
    bytes_of,
    contents,
    fault,
    files,
    make_older,
    maps,
    one,
    picture,
    root_json,
    write,
)

from pipeline.base.ids import safe_id
from pipeline.stores import format
from pipeline.stores.format import ARRAYS, Kind
from pipeline.stores.reader import Store
from pipeline.writing import writer as module
from pipeline.writing.partial import round_mantissa
from pipeline.writing.writer import StoreWriter

# The format on disk

RGB = ["red", "green", "blue"]
ATTRIBUTES: dict[Kind, dict[str, dict[str, object]]] = {
    "hr": {"image": {"units": "1/255", "long_name": "HR image, sRGB", "channels": RGB}},
    "lr": {"image": {"units": "1/255", "long_name": "real LR image, sRGB", "channels": RGB}},
    "val": {
        "hr": {"units": "1/255", "long_name": "HR image, sRGB", "channels": RGB},
        "lr": {"units": "1/255", "long_name": "LR image, sRGB", "channels": RGB},
    },
    "maps": {
        "mean": {"units": "1", "long_name": "mean of the LR image, sRGB", "channels": RGB},
        "theta": {"units": "1", "long_name": "theta, Laplace scale of a pixel", "channels": RGB},
    },
}
BEGUN = {"zarr.json", "images/zarr.json", "channel/zarr.json", "channel/c/0"}
"""Files of a store without images."""


@pytest.mark.parametrize("kind", KINDS)
def test_plain_zarr_reads_it(tmp_path: Path, kind: Kind) -> None:
    images = contents(kind)
    write(tmp_path / "a.zarr", kind, images)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    for image_id, arrays in images.items():
        for name, array in arrays.items():
            stored = group[f"images/{image_id}/{name}"]
            assert isinstance(stored, zarr.Array)
            np.testing.assert_array_equal(np.asarray(stored[...]), array)
            assert stored.attrs.asdict() == ATTRIBUTES[kind][name]


@pytest.mark.parametrize("kind", KINDS)
def test_metadata(tmp_path: Path, kind: Kind) -> None:
    """Zarr 3, codecs of the core specification only, the checksum last."""
    images = contents(kind)
    write(tmp_path / "a.zarr", kind, images)
    for image_id, arrays in images.items():
        for name, array in arrays.items():
            metadata = root_json(tmp_path / "a.zarr" / "images" / image_id / name)
            assert metadata["zarr_format"] == 3
            assert metadata["node_type"] == "array"
            assert metadata["data_type"] == str(array.dtype)
            assert metadata["shape"] == list(array.shape)
            assert metadata["fill_value"] == 0
            rows = ["lr_row", "lr_column"] if (kind, name) == ("val", "lr") else ["row", "column"]
            assert metadata["dimension_names"] == ["channel", *rows]
            assert metadata["chunk_grid"]["name"] == "regular"
            assert metadata["chunk_key_encoding"]["name"] == "default"
            assert not metadata.get("storage_transformers")
            codecs = [codec["name"] for codec in metadata["codecs"]]
            assert codecs == ["bytes", "blosc", "crc32c"]
            blosc = metadata["codecs"][1]["configuration"]
            assert (blosc["cname"], blosc["shuffle"]) == ("zstd", "bitshuffle")
            assert blosc["typesize"] == array.dtype.itemsize


@pytest.mark.parametrize("kind", KINDS)
def test_attributes(tmp_path: Path, kind: Kind) -> None:
    images = contents(kind)
    extra = {"dsn_hash": "abc", "nested": {"tile": 3, "share": 0.25, "none": None}}
    store = write(tmp_path / "a.zarr", kind, images, attributes=extra)
    attributes = root_json(tmp_path / "a.zarr")["attributes"]["usrdu"]
    assert attributes == store.attributes
    assert [len(attributes.pop(key)) for key in ("digest", "seal")] == [64, 64]
    folder = tmp_path / "a.zarr" / "images"
    chunks = {str(path.relative_to(folder)): path for path in folder.rglob("c/*/*/*")}
    last = {place: path.read_bytes()[-4:].hex() for place, path in chunks.items()}
    assert attributes.pop("checksums") == last
    assert len(last) == sum(len(arrays) for arrays in images.values())
    first = next(iter(ARRAYS[kind]))
    assert attributes == {
        "schema": 3 if kind == "maps" else 2,
        "kind": kind,
        "scale": 4,
        "axes": ["channel", "row", "column"],
        "channels": ["red", "green", "blue"],
        "units": dict(ARRAYS[kind]),
        **extra,
        "ids": ["one", "two.b"],
        "shapes": {image_id: list(arrays[first].shape) for image_id, arrays in images.items()},
    }
    assert set(attributes["units"]) == set(images["one"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_names_of_the_channels(tmp_path: Path, kind: Kind) -> None:
    """Byte by byte: number of strings, then the length and the letters of each, then CRC-32C."""
    write(tmp_path / "a.zarr", kind, contents(kind))
    metadata = root_json(tmp_path / "a.zarr" / "channel")
    assert (metadata["data_type"], metadata["shape"]) == ("string", [3])
    assert metadata["dimension_names"] == ["channel"]
    assert [codec["name"] for codec in metadata["codecs"]] == ["vlen-utf8", "crc32c"]
    strings = b"".join(struct.pack("<i", len(name)) + name.encode() for name in RGB)
    content = struct.pack("<i", 3) + strings
    checksum = struct.pack("<I", google_crc32c.value(content))
    assert (tmp_path / "a.zarr/channel/c/0").read_bytes() == content + checksum


def test_the_root_alone_describes_the_store(tmp_path: Path) -> None:
    """No consolidated metadata: with 100,000 images they took over a minute to open."""
    images = contents("maps")
    write(tmp_path / "a.zarr", "maps", images)
    root = root_json(tmp_path / "a.zarr")
    assert root.get("consolidated_metadata") is None
    described = root["attributes"]["usrdu"]
    assert described["ids"] == list(images) and set(described["shapes"]) == set(images)


@pytest.mark.parametrize("black", [False, True])
def test_a_photograph_is_one_object(tmp_path: Path, black: bool) -> None:
    image = np.zeros((3, 600, 800), np.uint8) if black else picture(1, 600, 800)
    store = write(tmp_path / "a.zarr", "hr", one(image))
    assert files(tmp_path / "a.zarr" / "images" / "a" / "image") == {"zarr.json", "c/0/0/0"}
    np.testing.assert_array_equal(store.read("a", "image"), image)


def test_every_file_of_a_store(tmp_path: Path) -> None:
    write(tmp_path / "a.zarr", "maps", contents("maps"))
    assert files(tmp_path / "a.zarr") == {
        *BEGUN,
        *(
            f"images/{image_id}/{name}"
            for image_id in ("one", "two.b")
            for name in ("zarr.json", *(f"{a}/{f}" for a in ("mean", "theta") for f in PARTS))
        ),
    }


@pytest.mark.parametrize("black", [False, True])
def test_chunks_of_a_huge_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, black: bool
) -> None:
    monkeypatch.setitem(format.CHUNK, "hr", 16)
    image = np.zeros((3, 40, 23), np.uint8) if black else picture(1, 40, 23)
    store = write(tmp_path / "a.zarr", "hr", one(image))
    expected = {f"c/0/{row}/{column}" for row in range(3) for column in range(2)}
    assert files(tmp_path / "a.zarr" / "images" / "a" / "image") == expected | {"zarr.json"}
    np.testing.assert_array_equal(store.read("a", "image"), image)


@pytest.mark.parametrize("name", ["zarr.json.png", "__a.png", "c.png", "images.png", "....png"])
def test_hostile_names_make_stores(tmp_path: Path, name: str) -> None:
    image_id = safe_id(name)
    store = write(tmp_path / "a.zarr", "hr", {image_id: {"image": picture(1, 4, 4)}})
    np.testing.assert_array_equal(store.read(image_id, "image"), picture(1, 4, 4))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]


# Writing that fails


class StrangeError(Exception):
    """Stands for anything that may go wrong."""


@pytest.mark.parametrize("older", [False, True])
def test_failure_leaves_nothing(tmp_path: Path, older: bool) -> None:
    path = tmp_path / "a.zarr"
    if older:
        write(path, "hr", one(picture(1, 4, 4)))
    before = bytes_of(tmp_path)

    def fail() -> None:
        with StoreWriter(path, "hr", 4, ["a", "b"]) as writer:
            writer.add("a", {"image": picture(2, 4, 4)})
            raise StrangeError

    with pytest.raises(StrangeError):
        fail()
    assert bytes_of(tmp_path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == (["a.zarr"] if older else [])


@pytest.mark.parametrize("older", [False, True])
def test_full_disk(tmp_path: Path, older: bool) -> None:
    path = tmp_path / "a.zarr"
    if older:
        write(path, "hr", one(picture(1, 4, 4)))
    before = bytes_of(tmp_path)

    def fill() -> None:
        with StoreWriter(path, "hr", 4, ["a"]):
            raise OSError(28, "No space left on device")

    assert fault(fill) == f"{path}: cannot be written: No space left on device"
    assert bytes_of(tmp_path) == before
    assert not (tmp_path / "a.zarr.partial").exists()


def test_failure_of_the_last_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is whole, but cannot get its name."""
    path = tmp_path / "a.zarr"
    write(path, "hr", one(picture(1, 4, 4)))
    before = bytes_of(tmp_path)
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    message = fault(lambda: write(path, "hr", one(picture(2, 4, 4))))
    assert message == f"{path}: cannot be written: Input/output error"
    assert bytes_of(tmp_path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]


def test_an_older_store_is_replaced_when_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write(path, "hr", {"a": {"image": picture(1, 4, 4)}, "gone": {"image": picture(3, 4, 4)}})
    with StoreWriter(path, "hr", 4, ["a"]) as writer:
        writer.add("a", {"image": picture(2, 4, 4)})
        np.testing.assert_array_equal(Store(path, "hr").read("a", "image"), picture(1, 4, 4))
    np.testing.assert_array_equal(Store(path, "hr").read("a", "image"), picture(2, 4, 4))
    assert not (path / "images" / "gone").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]


def test_an_image_that_was_forgotten_is_a_bug(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    with (
        pytest.raises(ValueError, match="image 'b' was not written to its end"),
        StoreWriter(path, "hr", 4, ["a", "b"]) as writer,
    ):
        writer.add("a", {"image": picture(1, 4, 4)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["file/a.zarr", "file/deeper/a.zarr"])
def test_a_place_that_is_no_folder(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    message = fault(lambda: StoreWriter(tmp_path / place, "hr", 4, []))
    assert message.startswith(f"{tmp_path / place}: cannot be written: ")


# Writing that goes on


def begin(path: Path, attributes: Mapping[str, object] = MappingProxyType({"dsn": "x"})) -> None:
    """Of three images one is finished and one is begun when the power goes."""

    def interrupted() -> None:
        with StoreWriter(path, "maps", 4, ["a", "b", "c"], attributes, resumable=True) as writer:
            writer.add("a", maps(1, 5, 6))
            writer.start("b", 5, 6, "mean", "float16")[...] = 7
            writer.start("b", 5, 6, "theta", "float16")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [entry.name for entry in path.parent.iterdir()] == ["a.zarr.partial"]


def test_resume(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    begin(path)
    kept = tmp_path / "a.zarr.partial" / "images" / "a" / "mean" / "c" / "0" / "0" / "0"
    before = kept.stat().st_mtime_ns, kept.stat().st_ino
    with StoreWriter(path, "maps", 4, ["a", "b", "c"], {"dsn": "x"}, resumable=True) as writer:
        assert [writer.done(image_id) for image_id in "abc"] == [True, False, False]
        writer.add("b", maps(2, 5, 6))
        writer.add("c", maps(3, 5, 6))
        assert all(writer.done(image_id) for image_id in "abc")
    kept = path / "images" / "a" / "mean" / "c" / "0" / "0" / "0"
    assert (kept.stat().st_mtime_ns, kept.stat().st_ino) == before
    images = {image_id: maps(seed, 5, 6) for seed, image_id in enumerate("abc", 1)}
    straight = write(tmp_path / "straight.zarr", "maps", images, attributes={"dsn": "x"})
    resumed = Store(path, "maps")
    assert resumed.digest == straight.digest
    for image_id, arrays in images.items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(resumed.read(image_id, name), array)


def test_a_store_that_an_older_version_began_goes_on(tmp_path: Path) -> None:
    """It had neither attributes of arrays nor names of channels, and said no floor of errors."""
    path, said = tmp_path / "a.zarr", {"dsn": "x", "error_floor": {"mean": 0.5}}
    begin(path)
    partial = tmp_path / "a.zarr.partial"
    make_older(partial)
    file = partial / "images/a/mean/zarr.json"
    before = file.read_bytes(), file.stat().st_ino
    assert files(partial) & BEGUN == {"zarr.json", "images/zarr.json"}
    with StoreWriter(path, "maps", 4, ["a", "b", "c"], said, resumable=True) as writer:
        assert [writer.done(image_id) for image_id in "abc"] == [True, False, False]
        writer.add("b", maps(2, 5, 6))
        writer.add("c", maps(3, 5, 6))
    file = path / "images/a/mean/zarr.json"
    assert (file.read_bytes(), file.stat().st_ino) == before
    assert root_json(path / "images/b/mean")["attributes"] == ATTRIBUTES["maps"]["mean"]
    images = {image_id: maps(seed, 5, 6) for seed, image_id in enumerate("abc", 1)}
    straight = write(tmp_path / "straight.zarr", "maps", images, attributes=said)
    resumed = Store(path, "maps")
    assert resumed.attributes == straight.attributes
    assert files(path) == files(straight.path)  # type: ignore[arg-type]
    for image_id, arrays in images.items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(resumed.read(image_id, name), array)


@pytest.mark.parametrize(("floor", "goes_on"), [(0.5, True), (0.25, False), (None, False)])
def test_a_store_with_another_floor_starts_afresh(
    tmp_path: Path, floor: float | None, goes_on: bool
) -> None:
    begin(tmp_path / "a.zarr", {"dsn": "x", "error_floor": 0.5})
    attributes = {"dsn": "x"} | ({} if floor is None else {"error_floor": floor})
    writer = StoreWriter(tmp_path / "a.zarr", "maps", 4, ["a", "b", "c"], attributes, True)
    assert writer.done("a") == goes_on


def test_a_kill_before_the_store_has_its_name_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The root already says that the store is whole."""
    path, image = tmp_path / "a.zarr", picture(1, 4, 4)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "replace_folder", killed)
        with (
            pytest.raises(KeyboardInterrupt),
            StoreWriter(path, "hr", 4, ["a"], resumable=True) as writer,
        ):
            writer.add("a", {"image": image})
    with StoreWriter(path, "hr", 4, ["a"], resumable=True) as writer:
        assert writer.done("a")
    np.testing.assert_array_equal(Store(path, "hr").read("a", "image"), image)


@pytest.mark.parametrize(
    ("ids", "scale", "attributes"),
    [
        (["a", "b", "c"], 4, {"dsn": "y"}),
        (["a", "b", "c"], 4, {}),
        (["a", "b", "c"], 2, {"dsn": "x"}),
        (["a", "b"], 4, {"dsn": "x"}),
        (["a", "c", "b"], 4, {"dsn": "x"}),
    ],
)
def test_another_store_starts_afresh(
    tmp_path: Path, ids: list[str], scale: int, attributes: dict[str, object]
) -> None:
    begin(tmp_path / "a.zarr")
    with StoreWriter(tmp_path / "a.zarr", "maps", scale, ids, attributes, resumable=True) as writer:
        assert not any(writer.done(image_id) for image_id in ids)
        assert files(writer.partial) == BEGUN
        for image_id in ids:
            writer.add(image_id, maps(9, 5, 6))
    assert Store(tmp_path / "a.zarr", "maps").attributes["scale"] == scale


def test_a_writer_that_does_not_resume_starts_afresh(tmp_path: Path) -> None:
    begin(tmp_path / "a.zarr")
    writer = StoreWriter(tmp_path / "a.zarr", "maps", 4, ["a", "b", "c"], {"dsn": "x"})
    assert not writer.done("a")
    assert files(writer.partial) == BEGUN


@pytest.mark.parametrize("content", [b"", b'{"zarr_format": 3, "no', b'{"zarr_format": 2}', None])
def test_a_partial_store_that_is_damaged_starts_afresh(
    tmp_path: Path, content: bytes | None
) -> None:
    begin(tmp_path / "a.zarr")
    metadata = tmp_path / "a.zarr.partial" / "zarr.json"
    metadata.unlink() if content is None else metadata.write_bytes(content)
    writer = StoreWriter(
        tmp_path / "a.zarr", "maps", 4, ["a", "b", "c"], {"dsn": "x"}, resumable=True
    )
    assert not writer.done("a")
    assert files(writer.partial) == BEGUN


def test_rewriting_an_image_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "a.zarr", "hr", 4, ["a"]) as writer:
        writer.add("a", {"image": picture(1, 9, 9)})
        writer.add("a", {"image": picture(2, 4, 5)})
    store = Store(tmp_path / "a.zarr", "hr")
    assert store.size("a") == (4, 5)
    np.testing.assert_array_equal(store.read("a", "image"), picture(2, 4, 5))
    assert store.digest == write(tmp_path / "b.zarr", "hr", one(picture(2, 4, 5))).digest


# The digest


def test_same_content_same_digest(tmp_path: Path) -> None:
    for kind in KINDS:
        first = write(tmp_path / f"1{kind}.zarr", kind, contents(kind))
        second = write(tmp_path / f"2{kind}.zarr", kind, contents(kind))
        assert first.digest == second.digest


def test_other_content_other_digest(tmp_path: Path) -> None:
    image = picture(1, 4, 6)
    other = image.copy()
    other[2, 3, 5] ^= 1
    digests = [
        write(tmp_path / "0.zarr", "hr", one(image)).digest,
        write(tmp_path / "1.zarr", "hr", one(other)).digest,
        write(tmp_path / "2.zarr", "hr", one(image.reshape(3, 6, 4))).digest,
        write(tmp_path / "3.zarr", "lr", one(image)).digest,
        write(tmp_path / "4.zarr", "hr", one(image), scale=2).digest,
        write(tmp_path / "5.zarr", "hr", one(image), attributes={"note": "x"}).digest,
        write(tmp_path / "6.zarr", "hr", {"b": {"image": image}}).digest,
        write(tmp_path / "7.zarr", "hr", {"a": {"image": image}, "b": {"image": other}}).digest,
        write(tmp_path / "8.zarr", "hr", {"b": {"image": image}, "a": {"image": other}}).digest,
        write(tmp_path / "9.zarr", "hr", {}).digest,
    ]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("name", ["mean", "theta"])
def test_the_digest_covers_every_array(tmp_path: Path, name: str) -> None:
    arrays = maps(1, 4, 6)
    changed = {key: array.copy() for key, array in arrays.items()}
    changed[name][0, 0, 0] += np.float16(0.25)
    first = write(tmp_path / "a.zarr", "maps", {"a": arrays})
    assert write(tmp_path / "b.zarr", "maps", {"a": changed}).digest != first.digest


# Rounding

KEEP = range(1, 11)


def normal_halves() -> NDArray[np.float32]:
    """Every positive normal float16 up to 2^15, as float32."""
    bits = np.arange(0x0400, 0x7801, dtype=np.uint16)
    return bits.view(np.float16).astype(np.float32)


def random_values(low: float, high: float) -> NDArray[np.float32]:
    """Spread evenly over the orders of magnitude, of both signs."""
    rng = np.random.default_rng(5)
    values = np.exp(rng.uniform(np.log(low), np.log(high), 100_000))
    return np.asarray(values * rng.choice([-1, 1], values.size), dtype=np.float32)


@pytest.mark.parametrize("keep", KEEP)
@pytest.mark.parametrize(
    "values",
    [
        normal_halves(),
        random_values(2.0**-14, 2.0**15),
        random_values(0.368 / 255, 1),
        np.linspace(0.368 / 255, 1, 100_001, dtype=np.float32),
        np.float32(0.368 / 255).reshape(1),
    ],
    ids=["every half", "random", "theta", "grid of theta", "smallest theta"],
)
def test_rounding_error(keep: int, values: NDArray[np.float32]) -> None:
    rounded = round_mantissa(values, keep)
    assert rounded.dtype == np.float16
    assert np.isfinite(rounded).all()
    error = np.abs(rounded.astype(np.float64) / values.astype(np.float64) - 1)
    assert error.max() <= 2.0 ** -(keep + 1)
    assert not (rounded.view(np.uint16) & ((1 << (10 - keep)) - 1)).any()


@pytest.mark.parametrize("keep", KEEP)
def test_the_bound_is_tight(keep: int) -> None:
    """The worst value lies just above a power of two, by half a step: 1 + 2^-(keep + 1)."""
    values = random_values(2.0**-14, 2.0**15)
    error = np.abs(round_mantissa(values, keep).astype(np.float64) / values - 1)
    assert error.max() > 0.99 / (2.0 ** (keep + 1) + 1)


def hard_values(keep: int) -> NDArray[np.float32]:
    """All values of float16 up to 2^-13 and the middles between them, and what lies around them.

    Also the middles between mantissas of ``keep`` bits, the least and the largest float32 that stay
    finite, and values of any size between.
    """
    steps = np.arange(0, 2**12 + 1) * 2.0**-25
    bases = [steps, *(steps + sign * 2.0**-bits for sign in (1, -1) for bits in (26, 27, 30))]
    mantissas = 1 + np.arange(2 ** (keep + 1)) * 2.0 ** -(keep + 1)
    bases += [mantissas * 2.0**exponent for exponent in (*range(-30, -11), -1, 0, 14)]
    bases.append(np.array([2.0**-149, 2.0**-126, 2.0**15 * (2 - 2.0 ** -(keep + 1))]))
    exact = np.concatenate(bases).astype(np.float32)
    low, high = np.nextafter(exact, np.float32(-1)), np.nextafter(exact, np.float32(1e5))
    found = np.concatenate([exact, low, high, np.abs(random_values(2.0**-149, 2.0**15))])
    found = found[(found >= 0) & (found < 2.0**15 * (2 - 2.0 ** -(keep + 1)))]
    return np.concatenate([found, -found])


def error_of(values: NDArray[np.float32], keep: int) -> NDArray[np.float64]:
    """|stored - x|; both have at most 24 bits of a mantissa, so the difference is exact."""
    stored = round_mantissa(values, keep)
    assert np.isfinite(stored).all()
    return np.abs(stored.astype(np.float64) - values.astype(np.float64))


@pytest.mark.parametrize("keep", KEEP)
def test_the_error_of_every_value(keep: int) -> None:
    """Of subnormal values, zeros, those around the least normal one, and the largest."""
    values = hard_values(keep)
    size, error = np.abs(values).astype(np.float64), error_of(values, keep)
    relative = 2.0 ** -(keep + 1) * size
    assert (error <= np.maximum(relative, 3 * 2.0**-26)).all()
    assert (error <= relative)[size >= 2.0**-14].all()
    assert (error > relative)[size < 2.0**-14].any()


@pytest.mark.parametrize("keep", KEEP)
def test_the_floor_is_tight(keep: int) -> None:
    """Just beyond a quarter step a value goes to the middle of two of float16, then to the far one.

    With the mantissa bits of the middle all ones, the far one is the even one.
    """
    middle = (2 ** (keep + 1) - 1) * 2.0**-25
    value = np.nextafter(np.float32(middle - 2.0**-26), np.float32(1))
    (error,) = error_of(np.array([value]), keep)
    assert 0.999 * 3 * 2.0**-26 < error < 3 * 2.0**-26


@pytest.mark.parametrize("keep", KEEP)
def test_representable_values_stay(keep: int) -> None:
    halves = normal_halves()
    halves = halves[halves.astype(np.float16).view(np.uint16) % (1 << (10 - keep)) == 0]
    assert halves.size == 29 * 2**keep + 1
    for sign in (1, -1):
        np.testing.assert_array_equal(round_mantissa(sign * halves, keep), sign * halves)
    np.testing.assert_array_equal(round_mantissa(np.zeros(3, np.float32), keep), np.zeros(3))


def test_rounding_keeps_shape_and_input() -> None:
    values = np.random.default_rng(6).random((3, 4, 10), dtype=np.float32)
    before = values.copy()
    view = values[:, :, ::2]
    rounded = round_mantissa(view, 4)
    assert rounded.shape == view.shape
    np.testing.assert_allclose(rounded, view, rtol=2.0**-5)
    np.testing.assert_array_equal(values, before)
