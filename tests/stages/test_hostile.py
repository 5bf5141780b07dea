"""Bad input on purpose: one sentence, nothing run, nothing written elsewhere, memory bounded.

What test_images, test_settings, test_prepare, test_checkpoints, test_foreign and test_audit prove
already is not repeated here; SECURITY.md lists it.
"""

import io
import json
import resource
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from conftest import names, prepare_settings
from hostile import (
    GRADIENT,
    bmp_bomb,
    encoded,
    jpeg_bomb,
    pickle_with_code,
    png_bomb,
    png_chunk,
    tiff_bomb,
    tiff_loop,
    webp_bomb,
    zip_bomb,
)
from PIL import Image

from pipeline.base.errors import UserError, printable
from pipeline.base.params import load_lines, load_yaml
from pipeline.base.settings import load_section
from pipeline.prepare.prepare import Folders, prepare
from pipeline.reading.files import find_images, image_size, read_image
from pipeline.reading.formats import open_header
from pipeline.runs.checkpoints import load_state
from pipeline.scores.full_reference import Lpips
from pipeline.srn.file import open_model
from pipeline.stores.format import seal
from pipeline.stores.reader import Store
from pipeline.stores.verify import verify
from pipeline.stores.weights import load_foreign, load_weights
from pipeline.tools.convert import convert
from pipeline.training.vgg import VGG19Features
from pipeline.writing.writer import StoreWriter
from stages.cli import main

MEMORY = 300 * 2**20
"""Bytes that a refusal may take beyond what the process had."""


def sentence(call: Callable[[], object]) -> str:
    """What the user is told; memory that was taken in between is bounded."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError) as caught:
        call()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MEMORY
    said = str(caught.value)
    assert said.isprintable() and len(said) < 1000
    return said


# --- images


def nan_tiff(value: float) -> bytes:
    pixels = np.full((8, 9, 3), 0.5, np.float32)
    pixels[3, 4] = value
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="rgb")
    return buffer.getvalue()


def lab_tiff() -> bytes:
    return encoded(GRADIENT.convert("LAB"), "TIFF")


def second_header() -> bytes:
    """A PNG that claims another size in a second header, after the one that was checked."""
    data = encoded(GRADIENT, "PNG")
    huge = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    return data[:33] + huge + data[33:]


IMAGES: dict[str, tuple[bytes, str]] = {
    "png bomb.png": (png_bomb(60000, 60000, 100), "exceeds limit of 1073741824 pixels"),
    "whole png bomb.png": (png_bomb(12000, 12000, 12000), "claims 12000x12000 pixels, in "),
    "png of no rows.png": (png_bomb(4, 4, 0), "cannot be read as an image"),
    "png of zero width.png": (png_bomb(4, 0, 4), "cannot be read as an image"),
    "two headers.png": (second_header(), "cannot be read as an image"),
    "jpeg bomb.jpg": (jpeg_bomb(60000, 60000), "exceeds limit of 1073741824 pixels"),
    "jpeg of no rows.jpg": (jpeg_bomb(0, 24), "cannot be read as an image"),
    "tiff bomb.tif": (tiff_bomb(60000, 60000, 8), "claims 60000x60000 pixels"),
    "deep tiff bomb.tif": (tiff_bomb(60000, 60000, 16), "claims 60000x60000 pixels"),
    "tiff of many samples.tif": (tiff_bomb(2000, 2000, 16, 60000), "claims 2000x30000000 pixels"),
    "tiff of no pixels.tif": (tiff_bomb(0, 4, 8), "cannot be read as an image"),
    "tiff without data.tif": (tiff_bomb(400, 400, 16), "cannot be read as an image"),
    "tiff of itself.tif": (tiff_loop(), ""),
    "webp bomb.webp": (webp_bomb(16384, 16384), ""),
    "wider webp bomb.webp": (webp_bomb(256, 2**24), ""),
    "bmp bomb.bmp": (bmp_bomb(60000, 60000), "exceeds limit of 1073741824 pixels"),
    "bmp of negative width.bmp": (bmp_bomb(16, -24), "cannot be read as an image"),
    "nan.tif": (nan_tiff(np.nan), "holds float32 values"),
    "infinite.tif": (nan_tiff(np.inf), "holds float32 values"),
    "postscript.png": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "is PostScript; such",
    ),
    "document.jpg": (b"%PDF-1.4\n1 0 obj\n", "is a PDF document; such"),
    "icon.png": (encoded(GRADIENT, "ICO"), "is an icon (ICO); such"),
    "script.png": (b"#!/bin/sh\ntouch trace\n", "no known format"),
    "svg.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG drawing; such"),
    "zeros.png": (bytes(100_000), "no known format"),
    "half a riff.webp": (b"RIFF\x00\x00\x00\x00WEBP", "cannot be read as an image"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_is_refused(tmp_path: Path, name: str) -> None:
    content, words = IMAGES[name]
    path = tmp_path / name
    path.write_bytes(content)
    said = sentence(lambda: read_image(path))
    assert said.startswith(f"{path}: ") and words in said
    assert names(tmp_path) == [name]


def test_a_flat_photograph_is_no_bomb(tmp_path: Path) -> None:
    """An eighth of what may be flat: one byte for 300 pixels, and read all the same."""
    (tmp_path / "black.png").write_bytes(png_bomb(2896, 2896, 2896))
    assert (tmp_path / "black.png").stat().st_size * 300 < 2896**2
    assert not read_image(tmp_path / "black.png").any()


def test_the_header_of_a_large_photograph_is_read(tmp_path: Path) -> None:
    """200 million pixels, as phones have; Pillow by itself refuses them."""
    path = tmp_path / "a.png"
    path.write_bytes(png_bomb(12240, 16320, 1))
    assert image_size(path) == (12240, 16320)


def test_only_known_formats_are_opened(tmp_path: Path) -> None:
    """Pillow would hand PostScript to another program."""
    path = tmp_path / "a.png"
    path.write_bytes(encoded(GRADIENT, "EPS"))
    assert image_size(path) is None
    with pytest.raises(Exception, match="cannot identify"):
        open_header(path)
    with Image.open(path) as file:
        assert file.format == "EPS"  # so the file was a danger


def test_a_file_larger_than_any_image(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(2**33)
    assert "has 8589934592 bytes, more than" in sentence(lambda: read_image(path))


@pytest.mark.parametrize("kind", ["loop", "ring", "device"])
def test_links_that_lead_nowhere(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.png"
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    else:
        (tmp_path / "b.png").symlink_to(path)
        path.symlink_to(tmp_path / "b.png")
    assert sentence(lambda: read_image(path)).startswith(f"{path}: ")


def test_a_folder_that_is_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "a")
    assert "there is no such folder" in sentence(lambda: find_images(tmp_path / "a"))


# --- names of files


@pytest.fixture
def world(tmp_path: Path) -> Folders:
    """Folders of three images that are good."""
    folders = Folders(*(tmp_path / "in" / name for name in ("hr", "lr", "val", "pairs")))
    for folder in (folders.hr, folders.lr, folders.val, folders.pairs):
        folder.mkdir(parents=True)
    for folder in (folders.hr, folders.lr):
        GRADIENT.save(folder / "plain.png")
    return folders


NAMES = {
    "new line": "a\nb.png",
    "escape": "\x1b[31mred\x1b[0m.png",
    "dots": "a..png.png",
    "up": "a\\..\\..\\x.png",
    "html": "<img src=x onerror=alert(1)>.png",
    "space": " .png",
    "reserved": "__init__.png",
    "zarr": "zarr.json.png",
    "bell": "a\x07.png",
    "right to left": "a\u202egnp.png",
    "look-alike": "\u0440l\u0430in.png",
    "not unicode": "a\udcff.png",
    "long": "n" * 250 + ".png",
    "longer than it looks": "\ufdfa" * 80 + ".png",
    "star": "*?[a].png",
    "percent": "%2e%2e%2fx.png",
    "device": "CON.png",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_becomes_an_id_inside_the_store(tmp_path: Path, world: Folders, name: str) -> None:
    GRADIENT.save(world.hr / NAMES[name])
    prepare(world, prepare_settings(scale=4), tmp_path / "out")
    store = Store(tmp_path / "out" / "hr.zarr", "hr")
    assert len(store.ids) == 2 and "plain" in store.ids
    inside = {path.name for path in (tmp_path / "out" / "hr.zarr" / "images").iterdir()}
    assert inside == {*store.ids, "zarr.json"}
    assert names(tmp_path) == ["in", "out"]
    assert verify(store.path).faults == []


@pytest.mark.parametrize(("first", "second"), [("a\nb.png", "a b.png"), ("é.png", "e\u0301.png")])
def test_names_that_collide_are_shown_on_one_line(
    tmp_path: Path, world: Folders, first: str, second: str
) -> None:
    for name in (first, second):
        GRADIENT.save(world.hr / name)
    said = sentence(lambda: prepare(world, prepare_settings(), tmp_path / "out"))
    assert "would both be called" in said
    assert not (tmp_path / "out").exists()


def test_a_name_of_escapes_is_printed_as_text(tmp_path: Path) -> None:
    path = tmp_path / "\x1b]0;title\x07\n.png"
    path.write_bytes(b"")
    said = sentence(lambda: read_image(path))
    assert said.endswith("\\x1b]0;title\\x07\\n.png: is empty (0 bytes)")
    assert printable("größe \u202e 写") == "größe \\u202e 写"


# --- settings


def merged(levels: int) -> str:
    lines = ["a0: &a0 {k: 1}"]
    for level in range(1, levels):
        nine = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} {{<<: [{nine}], b{level}: 1}}")
    return "\n".join(lines)


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


YAMLS: dict[str, tuple[str, str]] = {
    "billion laughs": (laughs(30), "aliases, such as *a0, are not taken"),
    "merges": (merged(30), "aliases, such as *a0, are not taken"),
    "of itself": ("a: &a [*a]", "aliases, such as *a, are not taken"),
    "deep list": (f"a: {'[' * 3000}{']' * 3000}", "more than 20 levels"),
    "deep mapping": ("a: " + "{a: " * 500 + "1" + "}" * 500, "more than 20 levels"),
    "long": ("a: " + "x" * 2**20, "more than 1048576 bytes"),
    "many digits": ("a: " + "9" * 10_000, "4300 digits"),
    "no date": ("a: 2001-99-99", "month must be in 1..12"),
    "no hour": ("a: 2001-01-01t25:99:00Z", "hour must be in 0..23"),
    "no integer": ("a: !!int x", "invalid literal"),
    "no truth": ("a: !!bool x", "'x'"),
    "no digits": ("%YAML 1.1\n---\na: 0b_\n", "invalid literal"),
    "strange key": ("? [a, {b: 1}]\n: 1\n", "unhashable"),
    "code": ("a: !!python/object/apply:os.mkdir [trace]", "could not determine a constructor"),
    "a name": ("a: !!python/name:os.system", "could not determine a constructor"),
    "own tag": ("%TAG ! tag:x,2000:\n---\na: !x 1", "could not determine a constructor"),
}


@pytest.mark.parametrize("name", YAMLS)
def test_a_params_file_that_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text, words = YAMLS[name]
    path = tmp_path / "params.yaml"
    path.write_text(text)
    said = sentence(lambda: load_yaml(path))
    assert said.startswith(f"{path}: is not valid YAML: ") and words in said
    assert sentence(lambda: load_lines(path)) == said
    assert names(tmp_path) == ["params.yaml"]


@pytest.mark.parametrize(
    "value",
    ["-1", "1e300", str(2**70), ".inf", ".nan", "true", "'2'", "[2]", "{a: 2}", "null",
     "!!binary eA==", "!!set {2}", "2001-01-01"],
)  # fmt: skip
def test_a_setting_of_another_kind(tmp_path: Path, value: str) -> None:
    from pipeline.prepare.prepare import PrepareSettings

    path = tmp_path / "params.yaml"
    path.write_text(
        f"prepare:\n  scale: {value}\n  preset: none\n  hr_from: folder\n  cleaning_factor: 2\n"
    )
    said = sentence(lambda: load_section(path, "prepare", PrepareSettings))
    assert said.startswith(f"{path}: prepare.scale: ") and "found" in said


@pytest.mark.parametrize("key", ["1", "null", "'a\\nb'", "'" + "k" * 500 + "'", "2001-01-01"])
def test_a_key_of_another_kind(tmp_path: Path, key: str) -> None:
    from pipeline.prepare.prepare import PrepareSettings

    path = tmp_path / "params.yaml"
    good = "scale: 4, preset: none, hr_from: folder, cleaning_factor: 2"
    path.write_text(f"prepare: {{{good}, {key}: 1}}\n")
    assert str(path) in sentence(lambda: load_section(path, "prepare", PrepareSettings))


# --- weights


def loaders(path: Path, tmp_path: Path) -> dict[str, Callable[[], object]]:
    """Everything that reads weights from a file."""
    return {
        "foreign": lambda: load_foreign(path),
        "weights": lambda: load_weights(path, "usrdu-dsn"),
        "state": lambda: load_state(path, {}),
        "sr model": lambda: open_model(path),
        "convert": lambda: convert(path, tmp_path / "out.safetensors"),
        "vgg": lambda: VGG19Features(str(path)),
        "lpips": lambda: Lpips(str(path)),
    }


LOADERS = list(loaders(Path(), Path()))


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_code_in_weights_is_not_run(tmp_path: Path, loader: str) -> None:
    path, trace = tmp_path / "w.pth", tmp_path / "trace"
    path.write_bytes(pickle_with_code(trace))
    assert str(path) in sentence(loaders(path, tmp_path)[loader])
    assert names(tmp_path) == ["w.pth"]


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_weights_that_would_grow(tmp_path: Path, loader: str) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(zip_bomb(2**30))
    assert path.stat().st_size < 2**21
    said = sentence(loaders(path, tmp_path)[loader])
    assert str(path) in said
    assert names(tmp_path) == ["w.pth"]


@pytest.mark.parametrize(
    "header",
    [
        b'{"a": {"dtype": "F32", "shape": [1099511627776], "data_offsets": [0, 4398046511104]}}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
        b'{"__metadata__": 3}',
        b'{"__metadata__": {"usrdu_sha256": 5}}',
        b'{"a": ' * 30000,
        b"{",
    ],
)
def test_a_safetensors_header_that_lies(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    assert str(path) in sentence(lambda: load_foreign(path))
    path.write_bytes(struct.pack("<Q", 2**62) + header)
    assert str(path) in sentence(lambda: load_foreign(path))
    assert verify(path).faults


# --- stores


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with StoreWriter(tmp_path / "a.zarr", "hr", 4, ["one"]) as writer:
        writer.add("one", {"image": np.arange(3 * 8 * 8, dtype=np.uint8).reshape(3, 8, 8)})
    return tmp_path / "a.zarr"


def edit(file: Path, change: Callable[[Any], object]) -> None:
    """Change a zarr.json as a forger would: with a good seal."""
    content = json.loads(file.read_text())
    change(content)
    if isinstance(content["attributes"], dict) and (said := content["attributes"].get("usrdu")):
        said["seal"] = seal(said)
    file.write_text(json.dumps(content))


ROOTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "absurd shape": lambda said: said.update(shapes={"one": [3, 2**40, 2**40]}),
    "negative shape": lambda said: said.update(shapes={"one": [3, -8, 8]}),
    "shape of words": lambda said: said.update(shapes={"one": ["3", "8", "8"]}),
    "no shape": lambda said: said.update(shapes={"one": None}),
    "way out": lambda said: said.update(ids=["../../x"], shapes={"../../x": [3, 8, 8]}),
    "root path": lambda said: said.update(ids=["/etc/x"], shapes={"/etc/x": [3, 8, 8]}),
    "hidden": lambda said: said.update(ids=[".x"], shapes={".x": [3, 8, 8]}),
    "html": lambda said: said.update(ids=["<b>"], shapes={"<b>": [3, 8, 8]}),
    "ids of numbers": lambda said: said.update(ids=[1]),
    "no ids": lambda said: said.update(ids=None),
    "scale of words": lambda said: said.update(scale="4"),
    "scale of nothing": lambda said: said.update(scale=0),
    "checksums of words": lambda said: said.update(checksums="none"),
}


@pytest.mark.parametrize("name", ROOTS)
def test_a_forged_root_is_refused(store: Path, name: str) -> None:
    edit(store / "zarr.json", lambda content: ROOTS[name](content["attributes"]["usrdu"]))
    said = sentence(lambda: Store(store, "hr"))
    assert said.startswith(f"{store}: its description, in zarr.json, is damaged: ")


def pickled(content: dict[str, Any]) -> None:
    content["codecs"] = [{"name": "numcodecs.pickle", "configuration": {"protocol": 5}}]


ARRAYS: dict[str, Callable[[dict[str, Any]], object]] = {
    "absurd shape": lambda said: said.update(shape=[3, 2**40, 2**40]),
    "absurd chunks": lambda said: said["chunk_grid"]["configuration"].update(
        chunk_shape=[3, 2**40, 2**40]
    ),
    "pickle": pickled,
    "sharding": lambda said: said.update(
        codecs=[
            {
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": [1, 1, 1],
                    "codecs": [{"name": "bytes"}],
                    "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
                },
            }
        ]
    ),
    "text": lambda said: said.update(data_type="string"),
    "a group": lambda said: said.update(node_type="group"),
    "deep": lambda said: said.update(attributes=json.loads("[" * 500 + "]" * 500)),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_forged_metadata_of_an_array_are_refused(store: Path, name: str) -> None:
    edit(store / "images" / "one" / "image" / "zarr.json", ARRAYS[name])
    said = sentence(lambda: Store(store, "hr").read("one", "image"))
    assert said.startswith(f"{store}: ") and "image" in said
    assert verify(store).faults


def test_a_chunk_that_would_grow_is_refused(store: Path) -> None:
    """Blosc's header says two gigabytes; checksum and seal are good."""
    import google_crc32c

    chunk = store / "images" / "one" / "image" / "c" / "0" / "0" / "0"
    data = bytearray(chunk.read_bytes()[:-4])
    data[4:8] = struct.pack("<I", 2**31 - 16)
    last = struct.pack("<I", google_crc32c.value(bytes(data)))
    chunk.write_bytes(data + last)
    edit(
        store / "zarr.json",
        lambda content: content["attributes"]["usrdu"]["checksums"].update(
            {"one/image/c/0/0/0": last.hex()}
        ),
    )
    said = sentence(lambda: Store(store, "hr").read("one", "image"))
    assert said.endswith("chunk 0/0/0 is damaged: it would decode to 2147483632 bytes")


def test_a_chunk_that_is_a_link_elsewhere_is_another_chunk(store: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"password" * 9)
    chunk = store / "images" / "one" / "image" / "c" / "0" / "0" / "0"
    chunk.unlink()
    chunk.symlink_to(tmp_path / "secret")
    assert "chunk 0/0/0 is damaged" in sentence(lambda: Store(store, "hr").read("one", "image"))


# --- the commands


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_a_command_says_one_sentence(tmp_path: Path, world: Folders) -> None:
    (world.hr / "bomb\n.png").write_bytes(png_bomb(60000, 60000, 1))
    params = tmp_path / "params.yaml"
    settings = {"scale": 4, "preset": "none", "hr_from": "folder", "cleaning_factor": 2}
    params.write_text(f"prepare: {json.dumps(settings)}")
    places = [f"--{name}={folder}" for name, folder in world.__dict__.items()]
    done = run("prepare", *places, f"--out={tmp_path / 'out'}", f"--metrics={tmp_path / 'm.json'}",
               f"--params={params}", f"--work={tmp_path / 'work'}")  # fmt: skip
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert "bomb\\n.png: cannot be read as an image: Image size" in line
    assert names(tmp_path) == ["in", "out", "params.yaml", "work"]
    assert "lr.zarr" in names(tmp_path / "out") and "hr.zarr" not in names(tmp_path / "out")
