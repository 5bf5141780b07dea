"""Damage of every kind to stores and files: found, or without any effect."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from click.testing import CliRunner
from numpy.typing import NDArray
from small_stores import make_older
from torch import nn

from pipeline.base.errors import UserError
from pipeline.runs.checkpoints import load_state, save_state
from pipeline.stores import format
from pipeline.stores.format import ARRAYS, Kind, seal
from pipeline.stores.reader import Store
from pipeline.stores.verify import Verified, verify
from pipeline.stores.weights import load_foreign, load_weights, require_whole, save_weights
from pipeline.writing.writer import StoreWriter
from stages.cli import main

KINDS: list[Kind] = ["hr", "lr", "val", "maps"]
FLIPS = 250
"""Of each kind of store; 1000 take a minute and a half."""


def image(kind: Kind, seed: int, height: int, width: int) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    large = rng.integers(0, 256, (3, height, width), dtype=np.uint8)
    if kind == "val":
        return {"hr": large, "lr": large[:, ::4, ::4]}
    if kind == "maps":
        mean = rng.random((3, height, width)).astype(np.float16)
        return {"mean": mean, "theta": mean / np.float16(50)}
    return {"image": large}


def write(path: Path, kind: Kind, sizes: dict[str, tuple[int, int]]) -> Path:
    with StoreWriter(path, kind, 4, list(sizes), {"note": [1, 2.5, None]}) as writer:
        for seed, (image_id, size) in enumerate(sizes.items()):
            writer.add(image_id, image(kind, seed, *size))
    return path


def everything(path: Path) -> tuple[dict[str, Any], list[bytes]]:
    """What a reader gets: the description, and all arrays."""
    store = Store(path, *KINDS)
    arrays = [store.read(i, name) for i in store.ids for name in ARRAYS[store.kind]]
    return store.attributes, [f"{a.dtype}{a.shape}".encode() + a.tobytes() for a in arrays]


def faults(place: Path | str) -> list[str]:
    found = verify(place).faults
    for sentence in found:
        assert sentence.startswith(f"{place}: ") and "\n" not in sentence
    return found


def refused(read: Callable[[], object]) -> bool:
    """Whether it ends with a sentence for the user; any other exception is a bug."""
    try:
        read()
    except UserError:
        return True
    return False


# --- single bytes


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_byte_of_a_store_changes_a_number(tmp_path: Path, kind: Kind) -> None:
    path = write(tmp_path / "a.zarr", kind, {"one": (4, 8)})
    whole = everything(path)
    assert faults(path) == []
    rng = np.random.default_rng(7)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    found = 0
    for _ in range(FLIPS):
        file = files[rng.integers(len(files))]
        content = file.read_bytes()
        place, flip = rng.integers(len(content)), rng.integers(1, 256)
        file.write_bytes(
            content[:place] + bytes([content[place] ^ int(flip)]) + content[place + 1 :]
        )
        seen: list[object] = []
        if refused(lambda: seen.append(everything(path))):  # noqa: B023
            assert faults(path), (file, place, flip)
            found += 1
        else:
            assert seen == [whole], (file, place, flip)
        file.write_bytes(content)
    assert everything(path) == whole
    assert found > FLIPS / 3


def weights(folder: Path) -> tuple[Path, Callable[[], object]]:
    path = folder / "w.safetensors"
    state = {"a": torch.linspace(0, 1, 40), "b": torch.arange(12).reshape(3, 4)}
    save_weights(path, state, {"format": "test", "settings": {"x": 0.25}})

    def read() -> object:
        tensors, metadata = load_weights(path, "test")
        return {name: value.tolist() for name, value in tensors.items()}, metadata

    return path, read


def checkpoint(folder: Path) -> tuple[Path, Callable[[], object]]:
    path, parts = folder / "c.pt", {"network": nn.Linear(3, 2)}
    save_state(path, parts, {"step": 7, "curves": [{"loss": 0.5}]})

    def read() -> object:
        fresh = {"network": nn.Linear(3, 2)}
        progress = load_state(path, fresh)
        return progress, {k: v.tolist() for k, v in fresh["network"].state_dict().items()}

    return path, read


def pytorch(folder: Path) -> tuple[Path, Callable[[], object]]:
    path = folder / "f.pth"
    torch.save({"a": torch.linspace(0, 1, 40)}, path)
    return path, lambda: {k: v.tolist() for k, v in load_foreign(path)[0].items()}


@pytest.mark.parametrize("make", [weights, checkpoint, pytorch])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_no_flipped_byte_of_a_file_changes_a_number(
    make: Callable[[Path], tuple[Path, Callable[[], object]]], tmp_path: Path
) -> None:
    path, read = make(tmp_path)
    whole, content = read(), path.read_bytes()
    assert faults(path) == []
    found = 0
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        seen: list[object] = []
        if refused(lambda: seen.append(read())):  # noqa: B023
            found += 1
        else:
            assert seen == [whole], place
    assert found > len(content) / 5
    path.write_bytes(content)
    assert read() == whole


def test_pytorch_itself_does_not_see_flips(tmp_path: Path) -> None:
    """Why a checkpoint carries a checksum; it remains a file that PyTorch opens."""
    path, _ = checkpoint(tmp_path)
    content = path.read_bytes()
    before = torch.load(path, weights_only=True)["parts"]["network"]["bias"]
    place = content.index(before.numpy().tobytes())
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    assert not torch.equal(torch.load(path, weights_only=True)["parts"]["network"]["bias"], before)
    (fault,) = faults(path)
    assert fault == f"{path}: is damaged: its content has another SHA-256"


# --- objects


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images of equal size, of six chunks each array."""
    monkeypatch.setitem(format.CHUNK, "maps", 5)
    return write(tmp_path / "m.zarr", "maps", {"one": (9, 12), "two": (9, 12)})


def chunk(path: Path, image_id: str = "one", name: str = "mean", place: str = "0/1/2") -> Path:
    return path / "images" / image_id / name / "c" / place


def swap(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def test_a_whole_store(path: Path) -> None:
    assert faults(path) == []
    digest = Store(path, "maps").digest[:12]
    assert verify(path).checked == f"maps, 2 images, 24 chunks, digest {digest}"
    assert faults(path.as_uri()) == []


def test_every_fault_is_named_to_the_end(path: Path) -> None:
    chunk(path).unlink()
    cut = chunk(path, "two", "theta", "0/0/1")
    cut.write_bytes(cut.read_bytes()[:-3])
    gone = path / "images" / "two" / "mean" / "zarr.json"
    gone.unlink()
    checksum = "is damaged: its checksum differs from the one it was written with"
    assert faults(path) == [
        f"{path}: image 'one', array 'mean', chunk 0/1/2 is damaged: it is missing",
        f"{path}: has no array 'mean' of image 'two'",
        f"{path}: image 'two', array 'theta', chunk 0/0/1 {checksum}",
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("one", "mean", "0/0/0"), ("two", "mean", "0/0/0")),
        (("one", "mean", "0/0/0"), ("one", "theta", "0/0/0")),
        (("one", "mean", "0/0/0"), ("one", "mean", "0/0/1")),
    ],
)
def test_swapped_chunks_are_found_by_every_reader(
    path: Path, first: tuple[str, str, str], second: tuple[str, str, str]
) -> None:
    """Each is good in itself, with its own CRC-32C."""
    swap(chunk(path, *first), chunk(path, *second))
    expected = [
        f"{path}: image '{i}', array '{name}', chunk {place} is damaged: its checksum differs "
        "from the one it was written with"
        for i, name, place in (first, second)
    ]
    assert sorted(faults(path)) == sorted(expected)
    store = Store(path, "maps")
    for (i, name, _), sentence in zip((first, second), expected, strict=True):
        with pytest.raises(UserError) as caught:
            store.read(i, name)
        assert str(caught.value) in expected and str(caught.value)[:90] == sentence[:90]


def test_swapped_images_are_found(path: Path) -> None:
    swap(path / "images" / "one", path / "images" / "two")
    found = faults(path)
    assert len(found) == 2 * (12 + 1)
    assert sum("names other checksums than the root" in sentence for sentence in found) == 2


def test_a_store_that_is_replaced_while_it_is_open(path: Path) -> None:
    store = Store(path, "maps")
    shutil.rmtree(path)
    with StoreWriter(path, "maps", 4, ["one", "two"]) as writer:
        for seed, image_id in enumerate(("one", "two")):
            writer.add(image_id, image("maps", seed + 5, 9, 12))
    with pytest.raises(UserError, match="its checksum differs from the one it was written with"):
        store.read("one", "mean")


# --- metadata


def change(path: Path, edit: Callable[[dict[str, Any]], object], sealed: bool = False) -> None:
    """Edit the root attribute of a store, and seal it again as a forger would."""
    file = path / "zarr.json"
    content = json.loads(file.read_text())
    said = content["attributes"]["usrdu"]
    edit(said)
    if sealed:
        said["seal"] = seal(said)
    file.write_text(json.dumps(content))


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "scale": lambda said: said.update(scale=2),
    "units": lambda said: said["units"].update(theta="gray levels"),
    "ids": lambda said: said.update(ids=said["ids"][::-1]),
    "shapes": lambda said: said["shapes"].update(one=[3, 12, 9]),
    "note": lambda said: said.update(note=[1, 2.25, None]),
    "an attribute more": lambda said: said.update(more=1),
    "an attribute less": lambda said: said.pop("note"),
    "digest": lambda said: said.update(digest="0" * 64),
}


@pytest.mark.parametrize("name", EDITS)
def test_changed_metadata_are_refused_by_every_reader(path: Path, name: str) -> None:
    change(path, EDITS[name])
    expected = f"{path}: its description, in zarr.json, is damaged: it does not match its seal"
    assert faults(path) == [expected]
    with pytest.raises(UserError) as caught:
        Store(path, "maps")
    assert str(caught.value) == expected


@pytest.mark.parametrize("name", EDITS)
def test_changed_metadata_with_a_new_seal_are_found_by_verify(path: Path, name: str) -> None:
    change(path, EDITS[name], sealed=True)
    assert faults(path)


@pytest.mark.parametrize("key", ["scale", "ids", "shapes", "checksums", "seal"])
def test_a_root_without_an_attribute_is_refused(path: Path, key: str) -> None:
    change(path, lambda said: said.pop(key))
    (fault,) = faults(path)
    assert fault.endswith(f"is damaged: it lacks {key}")


ARRAY_EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "type": (lambda said: said.update(data_type="bfloat16"), "cannot be read"),
    "signed": (
        lambda said: said.update(data_type="int16"),
        "has the dtype int16, expected float16",
    ),
    "order": (
        lambda said: said["codecs"][0]["configuration"].update(endian="big"),
        "has the order of bytes big, expected little",
    ),
    "shape": (lambda said: said.update(shape=[3, 12, 9]), "has the shape [3, 12, 9], expected"),
    "chunks": (
        lambda said: said["chunk_grid"]["configuration"].update(chunk_shape=[3, 9, 12]),
        "has the chunks [3, 9, 12], expected [3, 5, 5]",
    ),
    "keys": (
        lambda said: said["chunk_key_encoding"]["configuration"].update(separator="."),
        "has the chunk keys",
    ),
    "codec": (lambda said: said["codecs"].pop(1), "has the codecs ['bytes', 'crc32c'], expected"),
    "scaled": (
        lambda said: said["attributes"].update(scale_factor=2.0),
        "has the attributes {'units': '1',",
    ),
    "units": (
        lambda said: said["attributes"].update(units="1/255"),
        "expected {'units': '1', 'long_name': 'theta, Laplace scale of a pixel', 'channels': [",
    ),
    "axes": (
        lambda said: said.update(dimension_names=["channel", "column", "row"]),
        "has the axes ['channel', 'column', 'row'], expected ['channel', 'row', 'column']",
    ),
}


@pytest.mark.parametrize("name", ARRAY_EDITS)
def test_changed_metadata_of_an_array_are_refused_by_every_reader(path: Path, name: str) -> None:
    edit, words = ARRAY_EDITS[name]
    file = path / "images" / "two" / "theta" / "zarr.json"
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))
    (fault,) = faults(path)
    assert fault.startswith(f"{path}: image 'two', array 'theta': ") and words in fault
    with pytest.raises(UserError) as caught:
        Store(path, "maps").read("two", "theta")
    assert str(caught.value) == fault
    Store(path, "maps").read("two", "mean")


RGB = ["red", "green", "blue"]
CHANNEL_EDITS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda at: (at / "c/0").unlink(), "are ['', '', ''], expected ['red', 'green', "),
    "flipped": (lambda at: (at / "c/0").write_bytes(b"\0" * 28), "cannot be read: "),
    "no JSON": (lambda at: (at / "zarr.json").write_text("{"), "cannot be read: "),
    "a group": (
        lambda at: (at / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}'),
        "are a group, expected an array",
    ),
    "axis": (
        lambda at: (at / "zarr.json").write_text(
            (at / "zarr.json").read_text().replace('"channel"', '"row"')
        ),
        "have the axes ('row',), expected ('channel',)",
    ),
    "swapped": (
        lambda at: zarr.open_array(at).__setitem__(slice(None), np.array(RGB[::-1], object)),
        f"are {RGB[::-1]}, expected {RGB}",
    ),
}


@pytest.mark.parametrize("name", CHANNEL_EDITS)
def test_changed_names_of_channels(path: Path, name: str) -> None:
    edit, words = CHANNEL_EDITS[name]
    edit(path / "channel")
    (fault,) = faults(path)
    assert fault.startswith(f"{path}: the names of the channels, in channel, {words}"), fault


@pytest.mark.parametrize("kind", KINDS)
def test_stores_of_older_versions_are_whole(tmp_path: Path, kind: Kind) -> None:
    """They have neither attributes of arrays nor names of channels."""
    path = write(tmp_path / "a.zarr", kind, {"one": (20, 32), "two": (8, 8)})
    attributes, arrays = everything(path)
    make_older(path)
    assert verify(path) == Verified(
        f"{kind}, 2 images, {2 * len(ARRAYS[kind])} chunks, digest {attributes['digest'][:12]}", []
    )
    assert everything(path) == (attributes, arrays)


def test_an_image_that_names_another_digest(path: Path) -> None:
    file = path / "images" / "one" / "zarr.json"
    content = json.loads(file.read_text())
    content["attributes"]["digest"] = "0" * 64
    file.write_text(json.dumps(content))
    assert faults(path) == [
        f"{path}: image 'one' does not have the digest that its zarr.json names"
    ]


def test_strange_files(path: Path) -> None:
    (path / "images" / "three").mkdir()
    (path / "images" / "three" / "zarr.json").write_text("{}")
    (path / "images" / "zarr.json").unlink()
    assert faults(path) == [
        f"{path}: holds 1 files that are not its own: 'images/three/zarr.json'",
        f"{path}: its images/zarr.json is missing; other programs need it",
    ]


# --- the digest


def chunks_in_order(arrays: dict[str, NDArray[Any]], side: int) -> Iterator[bytes]:
    """Chunk by chunk, array by array, written another way than in the project."""
    grids = {
        name: [
            array[:, top : top + side, left : left + side].tobytes()
            for top in range(0, array.shape[1], side)
            for left in range(0, array.shape[2], side)
        ]
        for name, array in arrays.items()
    }
    for number in range(max(len(grid) for grid in grids.values())):
        yield from (grid[number] for grid in grids.values() if number < len(grid))


@pytest.mark.parametrize("kind", KINDS)
def test_the_digest_of_an_image_by_its_definition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    monkeypatch.setitem(format.CHUNK, kind, 7)
    path = write(tmp_path / "a.zarr", kind, {"one": (20, 32)})
    said = json.loads((path / "images" / "one" / "zarr.json").read_text())["attributes"]
    expected = hashlib.sha256(b"".join(chunks_in_order(image(kind, 0, 20, 32), 7))).hexdigest()
    assert said["digest"] == expected
    assert faults(path) == []


# --- files and the command


def test_what_is_checked_of_a_file(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    expected = {
        weights(tmp_path)[0]: "SHA-256 of its content",
        checkpoint(tmp_path)[0]: "SHA-256 of its content",
        pytorch(tmp_path)[0]: "CRC-32 of every part",
        tmp_path / "old.pth": "it carries no checksums",
    }
    for path, words in expected.items():
        assert faults(path) == []
        assert require_whole(path) == verify(path).checked == words


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(value: float, tmp_path: Path) -> None:
    """Whole, as their checksums say, but of no use."""
    maps = image("maps", 0, 4, 8)
    maps["theta"][1, 2, 3] = value
    with StoreWriter(tmp_path / "maps.zarr", "maps", 4, ["one"]) as writer:
        writer.add("one", maps)
    (fault,) = faults(tmp_path / "maps.zarr")
    assert "image 'one': its 'theta' is not finite in the box at row 0, column 0" in fault
    weights, checkpoint = tmp_path / "a.safetensors", tmp_path / "a.pt"
    network = nn.Linear(2, 3)
    with torch.no_grad():
        network.weight[2, 1] = value
    save_weights(weights, network.state_dict(), {"format": "some"})
    save_state(checkpoint, {"network": network}, {"step": 3})
    assert faults(weights) == [f"{weights}: its tensor 'weight' holds values that are not finite"]
    named = "its tensor 'parts.network.weight' holds values that are not finite"
    assert faults(checkpoint) == [f"{checkpoint}: {named}"]


def test_the_command_goes_on_to_the_end(path: Path, tmp_path: Path) -> None:
    file, _ = weights(tmp_path)
    good = CliRunner().invoke(main, ["verify", str(path), str(file)])
    assert good.exit_code == 0, good.output
    assert f"{path}: whole (maps, 2 images, 24 chunks, digest " in good.output
    assert f"{file}: whole (SHA-256 of its content)" in good.output
    chunk(path).unlink()
    chunk(path, "two").write_bytes(b"junk")
    nowhere = tmp_path / "nowhere"
    bad = CliRunner().invoke(main, ["verify", str(path), str(nowhere), str(file)])
    assert bad.exit_code == 1
    lines = bad.stdout.splitlines()
    for words in (
        "image 'one', array 'mean', chunk 0/1/2 is damaged: it is missing",
        "image 'two', array 'mean', chunk 0/1/2 is damaged: ",
        f"{nowhere}: there is no such",
        f"{file}: whole (SHA-256 of its content)",
    ):
        assert any(words in line for line in lines), words
    assert bad.stderr.endswith("3 faults\n")
