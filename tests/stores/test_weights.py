"""Weights and states on disk: whole or not there, the same bytes for the same content, no code."""

import hashlib
import json
import os
import pickle
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import names
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.base.errors import UserError
from pipeline.base.files import make_folder, write_whole
from pipeline.base.hashes import file_hash, fingerprint
from pipeline.runs.checkpoints import load_state, save_state
from pipeline.stores.weights import CHECKSUM, load_foreign, load_weights, save_weights

METADATA = {"format": "test", "scale": 4, "settings": {"b": [1.5, None], "a": "x"}, "unit": "°"}


@contextmanager
def files_no_larger_than(count: int) -> Iterator[None]:
    """As on a full disk, every write beyond ``count`` bytes fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def tensors(size: int = 3) -> dict[str, Tensor]:
    return {"weight": torch.arange(float(size)), "index": torch.tensor([[1, 2]])}


def one_sentence(error: UserError) -> str:
    message = str(error)
    assert message and "\n" not in message
    return message


# --- fingerprint


def test_fingerprint_is_the_hash_of_sorted_json() -> None:
    found = fingerprint({"b": 2.5, "a": [True, None]}, "digest")
    text = '[{"a": [true, null], "b": 2.5}, "digest"]'
    assert found == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert found == fingerprint({"a": [True, None], "b": 2.5}, "digest")


def test_fingerprint_feels_every_change() -> None:
    parts: list[tuple[object, ...]] = [
        ({"a": 1}, "x"),
        ({"a": 2}, "x"),
        ({"a": 1.5}, "x"),
        ({"a": "1"}, "x"),
        ({"a": None}, "x"),
        ({"c": 1}, "x"),
        ({"a": 1}, "y"),
        ({"a": 1}, "x", ""),
        ({"a": 1, "b": 1}, "x"),
        ("x", {"a": 1}),
    ]
    assert len({fingerprint(*one) for one in parts}) == len(parts)


def test_file_hash(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert file_hash(tmp_path / "f") == known


# --- whole files


def test_a_failing_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_whole(path, b"old")
    with files_no_larger_than(1000), pytest.raises(UserError, match="cannot be written") as caught:
        write_whole(path, b"x" * 2000)
    assert str(path) in one_sentence(caught.value)
    assert path.read_bytes() == b"old"
    assert names(path.parent) == ["file"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "below", tmp_path / "folder"):
        with pytest.raises(UserError, match="cannot be written") as caught:
            write_whole(path, b"x")
        assert str(path) in one_sentence(caught.value)
    with pytest.raises(UserError, match="the folder cannot be created") as caught:
        make_folder(tmp_path / "file" / "below")
    one_sentence(caught.value)
    assert names(tmp_path) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "mine"
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


# --- weights


def test_weights_come_back_with_their_metadata(tmp_path: Path) -> None:
    transposed = torch.arange(6.0).reshape(2, 3).T.requires_grad_()
    state = {**tensors(), "transposed": transposed, "half": torch.tensor([1.5], dtype=torch.half)}
    save_weights(tmp_path / "new" / "w.safetensors", state, METADATA)
    found, metadata = load_weights(tmp_path / "new" / "w.safetensors", "test")
    assert metadata == METADATA
    assert found.keys() == state.keys()
    for key, value in state.items():
        assert found[key].dtype == value.dtype and torch.equal(found[key], value)
        assert not found[key].requires_grad
    assert names(tmp_path / "new") == ["w.safetensors"]


def test_any_safetensors_reader_opens_the_file(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", tensors(), METADATA)
    with safe_open(tmp_path / "w.safetensors", framework="np") as file:
        assert file.get_tensor("weight").tolist() == [0, 1, 2]
        metadata = file.metadata()
        assert len(json.loads(metadata.pop(CHECKSUM))) == 64
        assert metadata == {key: json.dumps(value) for key, value in METADATA.items()}


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    """The library writes metadata in random order, which would make DVC run all again."""
    files = [tmp_path / str(number) for number in range(8)]
    for path in files:
        save_weights(path, tensors(), METADATA)
    assert len({path.read_bytes() for path in files}) == 1
    save_weights(tmp_path / "other", tensors(), {**METADATA, "scale": 2})
    assert (tmp_path / "other").read_bytes() != files[0].read_bytes()


def test_weights_are_as_readable_as_other_files(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    save_weights(tmp_path / "w", tensors(), METADATA)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "w")]
    assert modes[0] == modes[1]


def test_a_full_disk_leaves_the_old_weights(tmp_path: Path) -> None:
    path = tmp_path / "w"
    save_weights(path, tensors(), METADATA)
    before = path.read_bytes()
    with files_no_larger_than(10_000), pytest.raises(UserError, match="cannot be written"):
        save_weights(path, tensors(10_000), METADATA)
    assert path.read_bytes() == before and names(tmp_path) == ["w"]


def test_weights_that_are_missing_cut_or_damaged(tmp_path: Path) -> None:
    path = tmp_path / "w"
    with pytest.raises(UserError, match="there is no such weights file"):
        load_weights(path, "test")
    save_weights(path, tensors(), METADATA)
    whole = path.read_bytes()
    for damaged in (b"", whole[:5], whole[:40], whole[:-1], b"\xff" * 8 + whole[8:], b"junk" * 50):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="not a whole safetensors file") as caught:
            load_weights(path, "test")
        assert str(path) in one_sentence(caught.value)


@pytest.mark.parametrize(
    ("metadata", "found"),
    [({"format": '"usrdu-srn"'}, "usrdu-srn"), ({"format": "pt"}, "pt"), (None, "no format")],
)
def test_weights_of_another_kind(
    tmp_path: Path, metadata: dict[str, str] | None, found: str
) -> None:
    save_file(tensors(), tmp_path / "w", metadata)
    with pytest.raises(UserError) as caught:
        load_weights(tmp_path / "w", "usrdu-dsn")
    message = one_sentence(caught.value)
    assert found in message and "expected usrdu-dsn" in message and "marked" in message


# --- states


def parts(seed: int) -> dict[str, Any]:
    """A network and an Adam that has made a step."""
    torch.manual_seed(seed)
    network = nn.Linear(3, 2)
    optimiser = torch.optim.Adam(network.parameters(), 0.1)
    network(torch.randn(4, 3)).square().sum().backward()
    optimiser.step()
    return {"network": network, "optimiser": optimiser}


def bits(state: dict[str, Any]) -> bytes:
    return pickle.dumps(
        [
            [value.numpy().tobytes() for value in state["network"].state_dict().values()],
            [
                {key: value.numpy().tobytes() for key, value in entry.items()}
                for entry in state["optimiser"].state_dict()["state"].values()
            ],
        ]
    )


def test_a_state_comes_back(tmp_path: Path) -> None:
    first, second = parts(1), parts(2)
    assert bits(first) != bits(second)
    progress = {"step": 7, "curves": [{"step": 7.0, "loss": 0.1}]}
    save_state(tmp_path / "new" / "c.pt", first, progress)
    assert load_state(tmp_path / "new" / "c.pt", second) == progress
    assert bits(first) == bits(second)
    assert names(tmp_path / "new") == ["c.pt"]


def test_no_file_means_no_progress(tmp_path: Path) -> None:
    state = parts(1)
    before = bits(state)
    assert load_state(tmp_path / "c.pt", state) is None
    assert bits(state) == before


def test_a_failing_write_leaves_the_old_state(tmp_path: Path) -> None:
    path, first = tmp_path / "c.pt", parts(1)
    save_state(path, first, {"step": 1})
    large = {**parts(2), "more": nn.Linear(300, 300)}
    with files_no_larger_than(20_000), pytest.raises(UserError, match="cannot be written"):
        save_state(path, large, {"step": 2})
    assert names(tmp_path) == ["c.pt"]
    second = parts(3)
    assert load_state(path, second) == {"step": 1}
    assert bits(second) == bits(first)


def test_a_kill_while_writing_leaves_the_old_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, first = tmp_path / "c.pt", parts(1)
    save_state(path, first, {"step": 1})

    def killed(_partial: Path, _data: bytes) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            save_state(path, parts(2), {"step": 2})
    assert load_state(path, parts(3)) == {"step": 1}


def test_states_that_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_state(path, parts(1), {"step": 1})
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[:-30], b"junk" * 100):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="is damaged, or is no checkpoint") as caught:
            load_state(path, parts(2))
        assert str(path) in one_sentence(caught.value)
    others: list[object] = [{"parts": {}}, [1]]
    for incomplete in others:
        torch.save(incomplete, path)
        with pytest.raises(UserError, match="is damaged, or is no checkpoint"):
            load_state(path, parts(2))


def test_states_of_other_networks(tmp_path: Path) -> None:
    """The file is good: nobody is told to delete it."""
    path = tmp_path / "c.pt"
    for other in ({}, {"network": torch.nn.Linear(2, 7)}):
        save_state(path, other, {"step": 1})
        with pytest.raises(UserError, match="is a checkpoint of other networks") as caught:
            load_state(path, parts(2))
        assert "delete" not in one_sentence(caught.value)
    assert path.exists()


class Hostile:
    """Unpickling it runs code: it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_code_in_a_state_is_refused_and_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "c.pt", tmp_path / "trace"
    torch.save({"parts": {}, "progress": {"step": Hostile(trace)}}, path)
    with pytest.raises(UserError, match="is damaged"):
        load_state(path, {})
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # so the file was a danger


# --- files of other programs


class Touch:
    """Pickled, this is an order to make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


NESTED = {"gen": {"a": torch.arange(3.0)}, "epoch": 4}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a"])
def test_foreign_pytorch_files_are_known_by_content(
    name: str, zipped: bool, tmp_path: Path
) -> None:
    torch.save(NESTED, tmp_path / name, _use_new_zipfile_serialization=zipped)
    content, described = load_foreign(tmp_path / name)
    assert (list(content), described) == (["gen", "epoch"], {})
    assert torch.equal(content["gen"]["a"], torch.arange(3.0))


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a"])
def test_foreign_safetensors_are_known_by_content(name: str, tmp_path: Path) -> None:
    save_file({"a": torch.arange(3.0)}, tmp_path / name, {"format": "pt"})
    content, described = load_foreign(tmp_path / name)
    assert described == {"format": "pt"}
    assert torch.equal(content.pop("a"), torch.arange(3.0)) and not content


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_foreign_file_is_not_run(zipped: bool, tmp_path: Path) -> None:
    content = {"params": {"a": torch.zeros(1)}, "args": Touch(tmp_path / "ran")}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError) as caught:
        load_foreign(tmp_path / "a.pth")
    message = one_sentence(caught.value)
    assert message.startswith(f"{tmp_path / 'a.pth'}: holds more than tensors (posix.mkdir)")
    assert names(tmp_path) == ["a.pth"]
    torch.load(tmp_path / "a.pth", weights_only=False)  # it was no harmless file
    assert names(tmp_path) == ["a.pth", "ran"]


@pytest.mark.parametrize("harm", ["half", "text", "empty", "pickle"])
def test_damaged_foreign_files_are_refused(harm: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save(NESTED, path)
    content = path.read_bytes()
    plain = pickle.dumps({"a": 1})
    path.write_bytes(
        {"half": content[: len(content) // 2], "text": b"hello", "empty": b"", "pickle": plain}[
            harm
        ]
    )
    with pytest.raises(UserError) as caught:
        load_foreign(path)
    assert one_sentence(caught.value) == (
        f"{path}: is neither a whole PyTorch nor a safetensors file"
    )


def test_a_damaged_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    save_file({"a": torch.arange(99.0)}, path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"a\.pth: is not a whole safetensors file"):
        load_foreign(path)


def test_foreign_files_without_names_are_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth: holds no tensors by name but a list"):
        load_foreign(tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"none\.pth: there is no such weights file"):
        load_foreign(tmp_path / "none.pth")
