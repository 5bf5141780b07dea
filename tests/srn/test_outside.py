"""Networks of installed packages: registered, trained, opened again, or refused in a sentence."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from repository import ROOT
from spandrel import MAIN_REGISTRY

from pipeline.base.errors import UserError
from pipeline.srn import outside
from pipeline.srn.file import open_model
from pipeline.srn.network import architectures, build
from pipeline.stores.weights import save_weights

EXAMPLE = re.search(
    r"```python\n(# tinynet.*?)```", (ROOT / "docs" / "networks.md").read_text(), re.DOTALL
)
ENTRY = re.search(
    r'entry-points."usrdu.networks"\]\n(.*?)```', (ROOT / "docs" / "networks.md").read_text(), re.S
)
"""The package of the documentation, and its entry point."""
FORGETFUL = """
import tinynet
from torch import nn

__all__ = ["Forgetful", "Gained"]


class Gained(tinynet.TinyNet):
    def __init__(self, *, scale: int = 4, features: int = 16, gain: float = 1.0) -> None:
        super().__init__(scale=scale, features=features)
        self.gain = gain

    def forward(self, lr):
        return self.gain * super().forward(lr)


class Forgetful(tinynet.TinyArch):
    def load(self, state_dict):
        model = super().load(state_dict)
        state, scale = model.model.state_dict(), model.scale
        model._model = Gained(scale=scale, features=len(state["tiny_in.weight"]))
        model.model.load_state_dict(state)
        return model
"""
"""A network with an option that its file does not hold."""


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Spandrel's registry, as it was before the test."""
    for name in ("_architectures", "_ordered", "_by_id"):
        monkeypatch.setattr(MAIN_REGISTRY, name, getattr(MAIN_REGISTRY, name))
    outside._load.cache_clear()
    yield
    outside._load.cache_clear()
    for name in ("tinynet", "forgetful", "broken", "nothing"):
        sys.modules.pop(name, None)


def install(folder: Path, code: str, name: str, entry: str) -> None:
    """What an installed distribution leaves: a module, and its folder of metadata."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code)
    described = folder / f"{name}-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(f"[usrdu.networks]\n{entry}\n")


def install_example(folder: Path) -> None:
    assert EXAMPLE is not None and ENTRY is not None
    install(folder, EXAMPLE[1], "tinynet", ENTRY[1].replace('"', "").strip())


def test_the_example_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "TinyNet" not in architectures()
    install_example(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert "TinyNet" in architectures()
    torch.manual_seed(1)
    network = build("tinynet", 3, {"features": 8}, 16)
    assert type(network).__module__ == "tinynet"
    path = tmp_path / "srn.safetensors"
    save_weights(path, network.state_dict(), {})
    opened = open_model(path)
    assert (opened.architecture.id, opened.scale, opened.tags) == ("TinyNet", 3, ["8nf"])
    lr = torch.rand(1, 3, 9, 11)
    with torch.no_grad():
        assert torch.equal(opened.model(lr), network.eval()(lr))
    assert len(architectures()) == len(set(architectures()))  # it is registered once


def test_a_function_may_register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_example(tmp_path)
    code = (
        "from spandrel import MAIN_REGISTRY, ArchSupport\nfrom tinynet import TinyArch\n"
        "def install():\n"
        "    MAIN_REGISTRY.add(ArchSupport.from_architecture(TinyArch(), before=('Compact',)))\n"
    )
    (tmp_path / "tinynet-1.0.dist-info" / "entry_points.txt").write_text("")
    install(tmp_path, code, "nothing", "tiny = nothing:install")
    monkeypatch.syspath_prepend(tmp_path)
    build("TinyNet", 2, {}, 16)
    first, *_ = (str(one.architecture.id) for one in MAIN_REGISTRY.architectures("detection"))
    assert first == "TinyNet"


@pytest.mark.parametrize(
    ("code", "entry", "words"),
    [
        ("import no_such_library", "x = broken:Net", "cannot be loaded: No module named 'no_such_"),
        ("", "x = broken:Net", "cannot be loaded: module 'broken' has no attribute 'Net'"),
        ("def Net(): pass", "x = broken:Net", "registers no network with spandrel"),
        ("Net = 3", "x = broken:Net", "cannot be loaded: 'int' object is not callable"),
        (
            "from spandrel.architectures.Compact import CompactArch as Net", "x = broken:Net",
            "cannot be loaded: Duplicate architecture: Compact",
        ),
    ],
)  # fmt: skip
def test_a_faulty_package_is_named(
    code: str, entry: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, code, "broken", entry)
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):  # a second call says it again
        with pytest.raises(UserError) as raised:
            build("Compact", 4, {"num_feat": 4, "num_conv": 1}, 8)
        message = str(raised.value)
        assert message.startswith("the package 'broken' offers the network 'x' (broken:Net), but ")
        assert words in message and "\n" not in message
    with pytest.raises(UserError, match="the package 'broken'"):
        open_model(save(tmp_path))


def save(folder: Path) -> Path:
    path = folder / "some.safetensors"
    save_weights(path, {"some.weight": torch.zeros(3, 3)}, {})
    return path


def test_a_network_that_its_file_does_not_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_example(tmp_path)
    (tmp_path / "tinynet-1.0.dist-info" / "entry_points.txt").write_text("")
    install(tmp_path, FORGETFUL, "forgetful", "x = forgetful:Forgetful")
    monkeypatch.syspath_prepend(tmp_path)
    build("TinyNet", 2, {"gain": 1.0}, 16)
    with pytest.raises(UserError, match=r"gain: 2.0: a file of its weights does not hold all"):
        build("TinyNet", 2, {"gain": 2.0}, 16)


def test_a_module_that_names_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_example(tmp_path)
    module = tmp_path / "tinynet" / "__init__.py"
    module.write_text(re.sub(r"__all__ = .*", "", module.read_text()))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"module tinynet names no network in __all__"):
        build("TinyNet", 2, {}, 16)


@pytest.mark.slow
def test_in_a_process_of_its_own(tmp_path: Path) -> None:
    install_example(tmp_path)
    path = tmp_path / "srn.safetensors"
    script = (
        "from pathlib import Path\nfrom pipeline.srn.network import build\n"
        "from pipeline.srn.file import open_model\n"
        "from pipeline.stores.weights import save_weights\n"
        f"path = Path({str(path)!r})\n"
        "save_weights(path, build('TinyNet', 2, {}, 16).state_dict(), {})\n"
        "print(open_model(path).architecture.id)\n"
    )
    words = [sys.executable, "-c", script]
    paths = os.pathsep.join([str(ROOT), str(tmp_path)])
    env = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["TinyNet"]), done.stderr
    env = os.environ | {"PYTHONPATH": str(ROOT)}  # without the package
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "architecture 'TinyNet' is unknown" in done.stderr
