"""The page of a run: one file that shows what is there, names what is not, and tells no folders."""

import base64
import csv
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import World
from doubles import plain_passport, write_dsn
from PIL import Image

from pipeline.audit.verdicts import Verdict, Verdicts
from pipeline.base.errors import UserError
from pipeline.camera.picture import draw_passport
from pipeline.evaluate.evaluate import EvaluateSettings, evaluate
from pipeline.passport.passport import write_passport
from pipeline.piles.piles import Finding
from pipeline.piles.report import Report, write_report
from pipeline.run_page.camera import read_camera
from pipeline.run_page.curves import read_logs
from pipeline.run_page.data import open_stores, read_findings
from pipeline.run_page.page import RunFiles, link, run_page
from pipeline.run_page.scores import read_evaluations
from pipeline.run_page.settings import read_models
from pipeline.run_page.shots import compare
from pipeline.srn.network import build
from pipeline.stores.reader import Store
from pipeline.stores.weights import save_weights
from stages.cli import main
from stages.options import write_json

ROOT = Path(__file__).parents[2]
LARGEST = 5_000_000
"""Bytes of a page, at most."""
VOID = {"meta", "img", "input", "br", "hr", "link", "col"}
LOADS = {"src", "href", "xlink:href", "srcset", "data", "action", "poster", "background", "style"}
"""Attributes through which a page could load something."""


def files_of(root: Path) -> RunFiles:
    out = root / "data/report/index.html"
    return RunFiles(root / "data", root / "params.yaml", root / "profiles", out)


def write_model(path: Path, scale: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build("Compact", scale, {"num_feat": 4, "num_conv": 1})
    architecture = {"network": "Compact", "options": {"num_feat": 4}, "warm_start": "/home/anna/w"}
    save_weights(path, network.state_dict(), {"format": "usrdu-srn", "architecture": architecture})


def write_audit(folder: Path) -> None:
    one = Verdict("blur", "Blur", "warn", 0.3, None, 0.2, "px", "They are less sharp.", "Look.")
    found = Verdicts("raw", "warn", {"raw": [one]})
    metrics = {"verdict": "warn", "verdict_theta": "raw", "verdicts": {"blur": "warn"}}
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "page/summary.json", {"verdicts": asdict(found)})
    (folder / "page/index.html").write_text("the audit", encoding="utf-8")


def write_curves(path: Path, rows: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "total", "val_psnr"])
        writer.writerows([10 * n, 1 / n, 20 + n if n % 3 == 0 else ""] for n in range(1, rows))


@pytest.fixture(scope="module")
def finished(tiny: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project after a run of two networks; nobody may write to it."""
    root = tmp_path_factory.mktemp("project")
    data = root / "data"
    for store in (tiny.hr, tiny.lr, tiny.val):
        shutil.copytree(store.path, data / "prepare" / Path(store.path).name)
    noisy = Finding("HR", "noisy", ((Path("/home/anna/bridge.png"), "8.5 gray levels"),), 3)
    write_report(Report({}, [noisy]), data / "prepare")
    (data / "camera").mkdir()
    write_passport(data / "camera/camera.json", plain_passport())
    draw_passport(data / "camera/camera.png", plain_passport())
    (data / "train_srn/one").mkdir(parents=True)
    model = data / "train_srn/one/srn.safetensors"
    write_model(model, 4)
    write_curves(model.with_name("curves.csv"), 12)
    result = evaluate(tiny.val, model, EvaluateSettings(), data / "evaluate/one")
    write_json(data / "evaluate/one/metrics.json", {**result, "files": {}})
    for stage in ("train_srn", "evaluate"):
        shutil.copytree(data / stage / "one", data / stage / "two")
    write_dsn(data / "train_dsn/dsn.safetensors")
    write_json(data / "train_dsn/metrics.json", {"step": 0, "theta_mean": None})
    write_curves(data / "train_dsn/curves.csv", 1)
    write_audit(data / "audit")
    shutil.copytree(ROOT / "profiles", root / "profiles")
    params = (ROOT / "params.yaml").read_text(encoding="utf-8")
    params = params.replace("hr: data/raw/demo/hr ", "hr: /home/anna maria/pictures/best ")
    params = re.sub(r"(\n  niqe_model:) \S+", r"\1 /home/anna/niqe.safetensors", params)
    (root / "params.yaml").write_text(params, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def page(finished: Path) -> str:
    return run_page(files_of(finished))


class Elements(HTMLParser):
    """All elements of a page; fails where one is not closed or closed twice."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_it_loads_nothing(page: str) -> None:
    """Every reference is a picture in the page or a place in it, but for the audit's page."""
    links = []
    for tag, attributes in Elements(page).found:
        assert tag not in {"link", "iframe", "object", "embed", "base", "audio", "video", "source"}
        for name in LOADS & attributes.keys():
            value = attributes[name] or ""
            assert "//" not in value or value.startswith("data:image/"), (tag, name)
            assert not (tag == "img" and name == "src") or value.startswith("data:image/webp;")
            if name.endswith("href") and not value.startswith("#"):
                links.append(value)
    assert links == ["../audit/page/index.html"]
    text = re.sub(r'data:image/[^"]+|xmlns(:xlink)?="[^"]+"', "", page)
    assert not re.search(r"https?:|url\((?!#)|@import|fetch\(|XMLHttp|WebSocket|innerHTML", text)


def test_its_parts_fit_together(page: str) -> None:
    elements = Elements(page)
    ids = [a["id"] for _, a in elements.found if "id" in a]
    assert len(ids) == len(set(ids))
    targets = [a.get("href") or a.get("xlink:href") or "" for _, a in elements.found]
    assert {target[1:] for target in targets if target.startswith("#")} <= set(ids)
    labelled = {a["aria-labelledby"] for _, a in elements.found if "aria-labelledby" in a}
    assert labelled <= set(ids) and len(labelled) == 9
    assert all(image.get("alt") for image in elements.all("img"))
    assert len(page.encode()) < LARGEST


def test_the_script_is_whole(page: str) -> None:
    """Its brackets fit, and node parses it where there is one."""
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert "function longTable" in script and "function comparison" in script
    plain = re.sub(r"//.*|\"[^\"\n]*\"|/\.[^/\n]*/g", "", script)
    closing, expected = {"(": ")", "[": "]", "{": "}"}, []
    for letter in plain:
        if letter in closing:
            expected.append(closing[letter])
        elif letter in closing.values():
            assert expected.pop() == letter
    assert not expected
    if node := shutil.which("node"):
        subprocess.run([node, "--check", "-"], input=script.encode(), check=True, timeout=60)


def test_it_shows_the_pixels_of_the_run(page: str, finished: Path, tiny: World) -> None:
    shown = {str(a["alt"]): str(a["src"]) for a in Elements(page).all("img")}
    for image in tiny.val.ids:
        for what in ("one", "two", "HR"):
            data = base64.b64decode(shown[f"{what} of {image}"].partition(",")[2])
            pixels = np.moveaxis(np.array(Image.open(io.BytesIO(data))), -1, 0)
            expected = tiny.val.read(image, "hr")  # smaller than a crop, so shown whole
            if what != "HR":
                path = finished / f"data/evaluate/{what}/sr/{image}.png"
                expected = np.moveaxis(np.array(Image.open(path)), -1, 0)
            np.testing.assert_array_equal(pixels, expected)
        assert f"bicubic of {image}" in shown


def test_it_says_what_was_made(page: str, finished: Path, tiny: World) -> None:
    metrics = json.loads((finished / "data/evaluate/two/metrics.json").read_text())
    for protocol, scores in metrics["protocols"].items():
        assert f"Protocol {protocol}" in page
        assert f"<td>{scores['bicubic']['psnr']:.2f}</td>" in page.replace("<strong>", "").replace(
            "</strong>", ""
        )
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "1 of 3 HR images is noisy: bridge.png (8.5 gray levels)." in text
    assert "Blur. They are less sharp." in text and "→ Look." in text
    assert f"140 × 140 to 160 × 140 0.06 {tiny.hr.digest[:16]}…" in text
    assert "It was not trained: mean and theta come straight from" in text
    assert "Weights of LPIPS: none, so there is no LPIPS." in text
    assert "evaluate.niqe_model …/niqe.safetensors none" in text
    assert "usrdu upscale IN OUT --model data/train_srn/two/srn.safetensors" in text
    assert "Compact (num_feat 4); training began with …/w" in text
    assert "Whether all stages belong to one run is not known" in text
    assert page.count("</figcaption></figure>") == 2 * 4 + 1 + 2  # crops, passport, curves


def test_it_tells_no_folders_of_the_machine(page: str, finished: Path) -> None:
    for private in ("anna", str(finished), str(Path.home()), str(ROOT)):
        assert private not in page, private


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    page = run_page(files_of(tmp_path))
    assert not Elements(page).all("img")
    text = " ".join(re.sub(r"<[^>]+>", "", page).split())
    for sentence in (
        "the run has no validation images",
        "no network was evaluated",
        "the stage audit has not run",
        "there is no passport of the camera",
        "prepare has written no stores",
        "the images were not looked at for faults",
        "it left no curves",
        "no SR network left curves",
        "there is no params file",
        "no model was written",
    ):
        assert f"Left out: {sentence}." in text, sentence


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def other_size(path: Path) -> None:
    Image.new("RGB", (8, 8)).save(path)


def evaluated(data: Path) -> object:
    store = Store(data / "prepare/val.zarr", "val")
    return compare(store, {name: data / "evaluate" / name for name in ("one", "two")})


@pytest.mark.parametrize(
    ("name", "harm", "fault", "read"),
    [
        (
            "prepare/val.zarr/zarr.json",
            cut,
            "as a Zarr store",
            lambda d: open_stores(d / "prepare"),
        ),
        (
            "prepare/piles.json",
            cut,
            "whole JSON",
            lambda d: read_findings(d / "prepare/piles.json"),
        ),
        ("camera/camera.json", cut, "is not whole JSON", lambda d: read_camera(d / "camera")),
        ("camera/camera.png", cut, "truncated", lambda d: read_camera(d / "camera")),
        ("evaluate/one/metrics.json", cut, "whole", lambda d: read_evaluations(d / "evaluate")),
        ("evaluate/two/sr/pair-b.png", cut, "truncated", evaluated),
        ("evaluate/two/sr/pair-b.png", other_size, "run the evaluate stage again", evaluated),
        ("evaluate/one/images.csv", cut, "cells, and the first line", evaluated),
        ("train_srn/one/srn.safetensors", cut, "whole", lambda d: read_models(d, "data")),
        ("train_srn/one/curves.csv", cut, "line", lambda d: read_logs(d / "train_srn")),
    ],
)
def test_a_damaged_file_is_named(
    name: str,
    harm: Callable[[Path], object],
    fault: str,
    read: Callable[[Path], object],
    finished: Path,
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    part = name.split("/")[0]
    for folder in {part, "prepare"}:
        shutil.copytree(finished / "data" / folder, data / folder)
    path = data / name
    harm(path)
    with pytest.raises(UserError, match=re.escape(fault)) as caught:
        read(data)
    named = path.parent if path.name == "zarr.json" else path
    assert str(caught.value).startswith(str(named)) and "\n" not in str(caught.value)


def test_the_command_writes_the_same_page(
    page: str, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same files make the same bytes; a damaged one makes none."""
    root = tmp_path / "project"
    shutil.copytree(finished, root)
    monkeypatch.chdir(root)
    done = CliRunner().invoke(main, ["report"])
    out = root / "data/report/index.html"
    assert done.exit_code == 0 and "wrote data/report/index.html (" in done.output
    assert out.read_bytes() == page.encode()
    (root / "data/audit/metrics.json").write_text("{}", encoding="utf-8")
    refused = CliRunner().invoke(main, ["report", "--out", "second.html"])
    assert refused.exit_code == 1 and not (root / "second.html").exists()
    assert "Error: data/audit/metrics.json: is not as its stage wrote it: verdict" in refused.output
    missing = CliRunner().invoke(main, ["report", "--data", "nowhere"])
    assert missing.exit_code == 1 and "nowhere: there is no such folder" in missing.output


def test_a_page_elsewhere_has_no_link(finished: Path, tmp_path: Path) -> None:
    """It would name the folders between them."""
    target = finished / "data/audit/page/index.html"
    assert link(target, finished / "run.html", finished) == "data/audit/page/index.html"
    assert link(target, tmp_path / "run.html", finished) is None


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser on this machine")
def test_a_browser_makes_the_sliders(page: str, tmp_path: Path) -> None:
    """Its policy lets the script run from a file; every picture is loaded at its own size."""
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    done = subprocess.run(
        [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", path.as_uri(),
         f"--user-data-dir={tmp_path / 'profile'}"],
        capture_output=True, encoding="utf-8", check=True, timeout=120,
    )  # fmt: skip
    elements = Elements(done.stdout[done.stdout.index("<html") :])
    ranges = [a for a in elements.all("input") if a.get("type") == "range"]
    assert [a["aria-label"] for a in ranges] == [
        f"{image}: divider between bicubic, left, and one, right" for image in ("pair-a", "pair-b")
    ]
    assert {a["aria-valuetext"] for a in ranges} == {"50 % bicubic, 50 % one"}
    assert len(elements.all("option")) == 2 * 4
    assert [a.get("width") for a in elements.all("img")].count("96") == 2 + 4
