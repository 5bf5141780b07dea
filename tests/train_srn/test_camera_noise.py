"""An SR network trained on the maps' theta with the noise of a camera's passport."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from conftest import MACHINE, World, compact, demand, srn_settings
from doubles import plain_passport

from pipeline.base.errors import UserError
from pipeline.library.stream import sample_stream
from pipeline.passport.passport import Passport, passport_of, write_passport
from pipeline.sampling.sampler import Draw, make_sampler
from pipeline.stores.reader import Store
from pipeline.train_srn.streams import SampleStream
from pipeline.train_srn.train import SrnMaterial, open_stream
from pipeline.writing.writer import StoreWriter
from stages.cli import main

SETTINGS = srn_settings(theta="camera", epochs=1)


def maps_with(tiny: World, folder: Path, passport: object) -> Store:
    """The maps of the tiny world, of a DSN that carries a passport."""
    described = {"hr_digest": tiny.hr.digest, "dsn": {"passport": passport}}
    with StoreWriter(folder / "of_camera.zarr", "maps", 4, tiny.maps.ids, described) as writer:
        for image_id in tiny.maps.ids:
            arrays = {name: tiny.maps.read(image_id, name) for name in ("mean", "theta")}
            writer.add(image_id, arrays)
    return Store(folder / "of_camera.zarr", "maps")


def seen(material: SrnMaterial) -> torch.Tensor:
    used = material.used(SETTINGS)
    with open_stream(used, SETTINGS, demand(0)) as stream:  # type: ignore[attr-defined]
        lr: torch.Tensor = stream.batch(0).lr
    return lr


def expected(tiny: World, passport: Passport) -> torch.Tensor:
    sampler = make_sampler(Draw("camera"), maps=tiny.maps, camera=passport)
    with SampleStream(tiny.hr, tiny.maps, 16, sampler, demand(0)) as stream:
        return stream.batch(0).lr


def test_it_is_trained_on_the_theta_of_the_maps_and_the_noise_of_the_passport(
    tiny: World,
) -> None:
    passport = plain_passport()
    found = seen(SrnMaterial(tiny.hr, tiny.maps, camera=passport))
    assert torch.equal(found, expected(tiny, passport))


def test_maps_may_carry_the_passport(tiny: World, tmp_path: Path) -> None:
    passport = plain_passport()
    store = maps_with(tiny, tmp_path, passport.model_dump())
    assert passport_of(store) == passport and passport_of(tiny.maps) is None
    found = seen(SrnMaterial(tiny.hr, store))
    assert torch.equal(found, expected(tiny, passport))
    with sample_stream(tiny.hr.path, store.path, 16, Draw("camera"), demand=demand(0)) as stream:
        assert torch.equal(stream.batch(0).lr, found)


def test_a_passport_that_is_named_comes_first(tiny: World, tmp_path: Path) -> None:
    store = maps_with(tiny, tmp_path, plain_passport().model_dump())
    other = plain_passport(noise=plain_passport().noise.model_dump() | {"laplace_share": 0.1})
    assert SrnMaterial(tiny.hr, store, camera=other).used(SETTINGS).camera == other
    assert SrnMaterial(tiny.hr, store, camera=other).used(srn_settings()).camera is None


def test_without_a_passport(tiny: World, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="theta is camera, but no passport"):
        seen(SrnMaterial(tiny.hr, tiny.maps))
    store = maps_with(tiny, tmp_path, {"scale": 4})
    with pytest.raises(UserError, match=r"of_camera\.zarr: its passport is damaged: .*: Field"):
        seen(SrnMaterial(tiny.hr, store))


def call(tiny: World, folder: Path, theta: str, *more: object) -> Result:
    content = {
        "train_srn": srn_settings(theta=theta, epochs=1).model_dump(),
        "machine": MACHINE.model_dump(),
        "architectures": {"mine": compact().model_dump()},
    }
    (folder / "params.yaml").write_text(json.dumps(content))
    words: list[object] = ["train-srn", "--arch", "mine", "--hr", tiny.hr.path]
    words += ["--maps", tiny.maps.path, "--out", folder / "out", "--work", folder / "work"]
    words += ["--params", folder / "params.yaml", *more]
    return CliRunner().invoke(main, [str(word) for word in words])


def test_command(tiny: World, tmp_path: Path) -> None:
    file = tmp_path / "camera.json"
    write_passport(file, plain_passport())
    done = call(tiny, tmp_path, "camera", "--camera", file)
    assert done.exit_code == 0, done.output
    first = (tmp_path / "out" / "curves.csv").read_bytes()
    noise = plain_passport().noise.model_dump() | {"laplace_share": 0.0}
    write_passport(file, plain_passport(noise=noise))
    assert call(tiny, tmp_path, "camera", "--camera", file).exit_code == 0
    assert (tmp_path / "out" / "curves.csv").read_bytes() != first  # not the kept results
    refused = call(tiny, tmp_path, "camera")
    assert refused.exit_code == 1 and "no passport of a camera was given" in refused.output


def test_a_passport_that_is_not_asked_is_not_opened(tiny: World, tmp_path: Path) -> None:
    (tmp_path / "camera.json").write_text("damaged")
    more = ["--camera", tmp_path / "camera.json"]
    assert call(tiny, tmp_path, "raw", *more).exit_code == 0
    refused = call(tiny, tmp_path, "camera", *more)
    assert refused.exit_code == 1 and "is not a camera's passport" in refused.output
