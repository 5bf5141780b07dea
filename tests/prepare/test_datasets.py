"""Where image files are found, on made-up trees of every naming."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from pipeline.base.errors import UserError
from pipeline.prepare.datasets import Preset, find_files, find_pairs, find_val
from pipeline.prepare.enlarged import LrSize
from pipeline.prepare.folders import Pairs, Side

SIDES: tuple[Side, Side] = ("hr", "lr")
PARTS = ("hr", "lr", "val_lr", "val_hr")
TRACK1 = [
    dict(zip(PARTS, names.split(), strict=True))
    for names in (
        "Corrupted-tr-y Corrupted-tr-x Corrupted-va-x Corrupted-va-y",
        "train-target track1-train-source track1-valid-input track1-valid-gt",
        "corrupted_train_y corrupted_train_x corrupted_valid_x corrupted_valid_y",
    )
]
TRACK2 = [
    dict(zip(PARTS[:3], names.split(), strict=True))
    for names in (
        "DPEDiphone-tr-y DPEDiphone-tr-x DPEDiphone-crop-te-x",
        "train-target track2-train-source track2-test-input",
        "corrupted_train_y DPEDiphone_train_x DPEDiphone_crop_test_x",
    )
]
HELD = {"hr": ["1.png", "2.png", "3.png"], "lr": ["7.png", "8.png"]}
HELD |= {"val_lr": ["21.png", "22.png"], "val_hr": ["21.png", "22.png"]}


def touch(folder: Path, names: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def plain(name: str) -> str:
    return name


def nested(name: str) -> str:
    """As an archive unpacks into a folder of its own name."""
    return f"{name}/{name}"


def together(name: str) -> str:
    return f"NTIRE2020/{name}"


def capitals(name: str) -> str:
    return name.upper()


def tree(root: Path, names: Mapping[str, str], place: str) -> dict[str, Path]:
    """Empty files under all names, and the folders they are in."""
    moved = {"plain": plain, "nested": nested, "together": together, "capitals": capitals}[place]
    folders = {part: root / moved(name) for part, name in names.items()}
    for part, folder in folders.items():
        touch(folder, [*HELD[part], ".hidden.png", "list.txt"])
    return folders


def stems(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    return {name.split(".")[0]: folder / name for name in names}


PLACES = ["plain", "nested", "together", "capitals"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("names", TRACK1, ids=lambda names: str(names["lr"]))
def test_ntire_track_1(tmp_path: Path, names: Mapping[str, str], place: str) -> None:
    folders = tree(tmp_path, names, place)
    for side in ("hr", "lr"):
        found = find_files(tmp_path, side, "ntire2020-track1", 4)
        assert found == stems(folders[side], HELD[side])
    pairs, inputs = find_val(tmp_path, "ntire2020-track1", 4)
    hr, lr = (stems(folders[part], HELD[part]) for part in ("val_hr", "val_lr"))
    assert pairs == {i: (hr[i], lr[i]) for i in ("21", "22")}
    assert inputs == {}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("names", TRACK2, ids=lambda names: str(names["lr"]))
def test_ntire_track_2(tmp_path: Path, names: Mapping[str, str], place: str) -> None:
    """Test inputs, no references."""
    folders = tree(tmp_path, names, place)
    for side in ("hr", "lr"):
        found = find_files(tmp_path, side, "ntire2020-track2", 4)
        assert found == stems(folders[side], HELD[side])
    assert find_val(tmp_path, "ntire2020-track2", 4) == (
        {},
        stems(folders["val_lr"], ["21.png", "22.png"]),
    )


def test_both_tracks_in_one_root(tmp_path: Path) -> None:
    """Each takes its own; test inputs go before whole validation images."""
    tree(tmp_path, TRACK1[0], "plain")
    folders = tree(tmp_path, TRACK2[0], "plain")
    touch(tmp_path / "DPEDiphone-va", ["5.png"])
    expected: dict[Preset, str] = {
        "ntire2020-track1": "Corrupted",
        "ntire2020-track2": "DPEDiphone",
    }
    for preset, start in expected.items():
        for side in ("hr", "lr"):
            for path in find_files(tmp_path, side, preset, 4).values():
                assert path.parent.name.startswith(start)
    _, inputs = find_val(tmp_path, "ntire2020-track2", 4)
    assert {path.parent for path in inputs.values()} == {folders["val_lr"]}
    for path in folders["val_lr"].iterdir():
        path.unlink()
    _, inputs = find_val(tmp_path, "ntire2020-track2", 4)
    assert list(inputs.values()) == [tmp_path / "DPEDiphone-va" / "5.png"]


@pytest.mark.parametrize("preset", ["ntire2020-track1", "realsr", "city100", "none"])
def test_a_plain_folder_goes_with_every_preset(tmp_path: Path, preset: Preset) -> None:
    """The HR images may be another set than the data set's, as in the paper."""
    touch(tmp_path / "DIV2K_train_HR", ["0001.png", "0002.png"])
    expected = stems(tmp_path / "DIV2K_train_HR", ["0001.png", "0002.png"])
    assert find_files(tmp_path / "DIV2K_train_HR", "hr", preset, 4) == expected
    for side in ("hr", "lr"):
        touch(tmp_path / "mine" / side, ["a.png"])
    pair = (tmp_path / "mine" / "hr" / "a.png", tmp_path / "mine" / "lr" / "a.png")
    assert find_val(tmp_path / "mine", preset, 4) == ({"a": pair}, {})
    assert find_pairs(tmp_path / "mine", preset, 4) == {"a": pair}


def test_the_folder_itself_may_be_the_one_looked_for(tmp_path: Path) -> None:
    folders = tree(tmp_path, TRACK1[0], "plain")
    found = find_files(folders["lr"], "lr", "ntire2020-track1", 4)
    assert found == stems(folders["lr"], HELD["lr"])


@pytest.mark.parametrize(("side", "words"), [("hr", "train-target"), ("lr", "track1-train-source")])
def test_what_is_missing_is_named(tmp_path: Path, side: Side, words: str) -> None:
    touch(tmp_path / "Corrupted-va-x", ["1.png"])
    (tmp_path / "Corrupted-tr-x").mkdir()
    (tmp_path / "Corrupted-tr-y").mkdir()
    with pytest.raises(UserError) as caught:
        find_files(tmp_path, side, "ntire2020-track1", 4)
    letter = {"hr": "y", "lr": "x"}[side]
    assert str(caught.value) == (
        f"{tmp_path}: no folder called Corrupted-tr-{letter} or {words} or "
        f"corrupted_train_{letter} with images was found in it, one level deeper, or as the folder "
        "itself"
    )


def test_missing_references_are_named(tmp_path: Path) -> None:
    """Track 1 has them: it is a mistake, not a set without; nor are the inputs their own."""
    touch(tmp_path / "Corrupted-va-x", ["1.png"])
    for folder in (tmp_path, tmp_path / "Corrupted-va-x"):
        names = "Corrupted-va-y or track1-valid-gt or corrupted_valid_y"
        with pytest.raises(UserError, match=f"^{folder}: no folder called {names} with"):
            find_val(folder, "ntire2020-track1", 4)


def test_pairs_of_other_names(tmp_path: Path) -> None:
    folders = tree(tmp_path, TRACK1[0], "plain")
    touch(folders["val_hr"], ["23.png"])
    with pytest.raises(UserError) as caught:
        find_val(tmp_path, "ntire2020-track1", 4)
    path = folders["val_hr"] / "23.png"
    expected = f"{path}: has no partner of the same name in {folders['val_lr']}"
    assert str(caught.value) == expected


# RealSR


def picture(path: Path, height: int, width: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(path)


def realsr(root: Path, cameras: Sequence[str] = ("Canon", "Nikon")) -> None:
    """All scales; LR is a half, a third or a quarter of HR."""
    for camera in cameras:
        for scale in (2, 3, 4):
            for part, names in (("Train", ("001", "002")), ("Test", ("003",))):
                for name in names:
                    start = root / camera / part / str(scale) / f"{camera}_{name}"
                    picture(start.with_name(f"{start.name}_HR.png"), 12, 24)
                    small = start.with_name(f"{start.name}_LR{scale}.png")
                    picture(small, 12 // scale, 24 // scale)


def expected_pairs(root: Path, part: str, names: Sequence[str], scale: int) -> Pairs:
    found = {}
    for name in names:
        folder = root / name.split("_")[0] / part / str(scale)
        found[name] = (folder / f"{name}_HR.png", folder / f"{name}_LR{scale}.png")
    return found


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("place", ["", "RealSR(V3)"])
def test_realsr(tmp_path: Path, scale: int, place: str) -> None:
    realsr(tmp_path / place)
    names = ["Canon_001", "Canon_002", "Nikon_001", "Nikon_002"]
    training = expected_pairs(tmp_path / place, "Train", names, scale)
    assert find_pairs(tmp_path, "realsr-v3", scale) == training
    hr, lr = (find_files(tmp_path, side, "realsr-v3", scale) for side in ("hr", "lr"))
    assert hr == {name: pair[0] for name, pair in training.items()}
    assert lr == {name: pair[1] for name, pair in training.items()}
    validation = expected_pairs(tmp_path / place, "Test", ["Canon_003", "Nikon_003"], scale)
    assert find_val(tmp_path, "realsr-v3", scale) == (validation, {})


def test_realsr_of_one_camera(tmp_path: Path) -> None:
    """The paper's real LR images are those of the Canon."""
    realsr(tmp_path)
    found = find_files(tmp_path / "Canon", "lr", "realsr-v3", 4)
    assert list(found) == ["Canon_001", "Canon_002"]


def test_realsr_in_other_letters(tmp_path: Path) -> None:
    for side, size in (("hr", 8), ("lr4", 2)):
        picture(tmp_path / "canon" / "train" / "4" / f"007_{side}.PNG", size, size)
    assert list(find_pairs(tmp_path, "realsr-v3", 4)) == ["canon_007"]


def test_realsr_names_without_the_camera(tmp_path: Path) -> None:
    for camera in ("Canon", "Nikon"):
        for side, size in (("HR", 8), ("LR4", 2)):
            picture(tmp_path / camera / "Train" / "4" / f"1_{side}.png", size, size)
    assert list(find_pairs(tmp_path, "realsr-v3", 4)) == ["Canon_1", "Nikon_1"]


def test_realsr_twice(tmp_path: Path) -> None:
    realsr(tmp_path, ["Canon"])
    realsr(tmp_path / "copy", ["Canon"])
    with pytest.raises(UserError, match="copy/Canon/Canon_001.png would both be called"):
        find_pairs(tmp_path, "realsr-v3", 4)


def faults(
    folder: Path, scale: int = 4, preset: Preset = "realsr", lr_size: LrSize = "native"
) -> set[str]:
    """What every way to the training images says."""
    said = set()
    for call in (
        lambda: find_files(folder, "hr", preset, scale, lr_size),
        lambda: find_files(folder, "lr", preset, scale, lr_size),
        lambda: find_pairs(folder, preset, scale, lr_size),
    ):
        with pytest.raises(UserError) as caught:
            call()
        said.add(str(caught.value))
    return said


TO_ENLARGED = "prepare.lr_size: enlarged reduces LR images that were enlarged to the size of HR"
TO_NATIVE = "so it was not enlarged to it; prepare.lr_size: native takes LR images as they are"


def test_realsr_with_lr_of_the_size_of_hr(tmp_path: Path) -> None:
    realsr(tmp_path)
    path = tmp_path / "Nikon" / "Train" / "4" / "Nikon_002_LR4.png"
    picture(path, 12, 24)
    assert faults(tmp_path) == {f"{path}: has the size of Nikon_002_HR.png; {TO_ENLARGED}"}
    assert len(find_pairs(tmp_path, "realsr", 2)) == 4


@pytest.mark.parametrize("place", ["RealSR (ICCV2019)", "RealSR(V2)"])
def test_realsr_in_versions_1_and_2(tmp_path: Path, place: str) -> None:
    """Laid out like version 3; LR has the size of HR."""
    realsr(tmp_path / place)
    for path in (tmp_path / place).rglob("*_LR?.png"):
        picture(path, 12, 24)
    training = expected_pairs(tmp_path / place, "Train", ["Canon_001", "Canon_002"], 3)
    canon = tmp_path / place / "Canon"
    assert find_pairs(canon, "realsr", 3, "enlarged") == training
    for index, side in enumerate(SIDES):
        found = find_files(canon, side, "realsr", 3, "enlarged")
        assert found == {name: pair[index] for name, pair in training.items()}
    validation = expected_pairs(tmp_path / place, "Test", ["Canon_003", "Nikon_003"], 3)
    assert find_val(tmp_path, "realsr", 3, "enlarged") == (validation, {})
    small = canon / "Train" / "3" / "Canon_002_LR3.png"
    picture(small, 4, 8)
    sentence = f"{small}: has not the size of Canon_002_HR.png, {TO_NATIVE}"
    assert faults(canon, 3, lr_size="enlarged") == {sentence}


@pytest.mark.parametrize("preset", ["realsr", "realsr-v3"])
def test_both_names_of_realsr(tmp_path: Path, preset: Preset) -> None:
    realsr(tmp_path, ["Canon"])
    assert list(find_pairs(tmp_path, preset, 4)) == ["Canon_001", "Canon_002"]


@pytest.mark.parametrize("name", ["Canon_001.png", "Canon_001_LR2.png", "Canon_001_x4.png"])
def test_realsr_of_other_names(tmp_path: Path, name: str) -> None:
    realsr(tmp_path)
    path = tmp_path / "Canon" / "Train" / "4" / name
    picture(path, 12, 24)
    sentence = f"{path}: is not called NAME_HR or NAME_LR4, as all images of RealSR are"
    assert faults(tmp_path) == {sentence}


def test_realsr_of_another_layout(tmp_path: Path) -> None:
    for side in ("HR", "LR"):
        picture(tmp_path / "Canon" / "Train" / side / "1.png", 12, 24)
    files = "NAME_HR.png and NAME_LR3.png"
    sentence = (
        f"{tmp_path}: no folder in it or one level deeper holds Train/3/ with {files}, as the "
        f"cameras of RealSR do, nor does it hold {files} itself"
    )
    assert faults(tmp_path, 3) == {sentence}


def test_a_folder_of_realsr_is_no_plain_folder(tmp_path: Path) -> None:
    """HR and LR lie in it side by side; whoever names it says which part it is."""
    realsr(tmp_path)
    folder = tmp_path / "Canon" / "Train" / "4"
    training = expected_pairs(tmp_path, "Train", ["Canon_001", "Canon_002"], 4)
    assert find_pairs(folder, "realsr", 4) == training
    assert find_val(folder, "realsr", 4) == (training, {})
    for index, side in enumerate(SIDES):
        found = find_files(folder, side, "realsr", 4)
        assert found == {name: pair[index] for name, pair in training.items()}


def test_realsr_with_a_folder_per_camera(tmp_path: Path) -> None:
    """Without folders for parts and scales, names get that of the camera where they lack it."""
    for camera, names in (("Canon", ("Canon_1", "2")), ("Nikon", ("2",))):
        for name in names:
            for side, size in (("HR", 8), ("LR4", 2)):
                picture(tmp_path / camera / f"{name}_{side}.png", size, size)
    found = find_pairs(tmp_path, "realsr", 4)
    assert list(found) == ["Canon_2", "Canon_1", "Nikon_2"]
    assert found["Nikon_2"] == tuple(tmp_path / "Nikon" / f"2_{s}.png" for s in ("HR", "LR4"))


def test_parts_and_scales_of_realsr_are_not_mixed(tmp_path: Path) -> None:
    """A folder above those of the scales is not one of a camera without parts."""
    realsr(tmp_path)
    for folder in (tmp_path / "Canon" / "Train", tmp_path / "Canon" / "Test"):
        (sentence,) = faults(folder)
        assert sentence.startswith(f"{folder}: no folder in it or one level deeper holds Train/4/")


@pytest.mark.parametrize(("gone", "partner"), [("HR", "LR4"), ("LR4", "HR")])
def test_realsr_without_a_partner(tmp_path: Path, gone: str, partner: str) -> None:
    realsr(tmp_path)
    folder = tmp_path / "Canon" / "Train" / "4"
    (folder / f"Canon_001_{gone}.png").unlink()
    path = folder / f"Canon_001_{partner}.png"
    assert faults(tmp_path) == {f"{path}: has no partner Canon_001_{gone} in {folder}"}


def test_a_damaged_image_is_left_to_the_decoder(tmp_path: Path) -> None:
    realsr(tmp_path)
    for side in ("HR", "LR4"):
        (tmp_path / "Canon" / "Train" / "4" / f"Canon_001_{side}.png").write_text("no image")
    assert len(find_pairs(tmp_path, "realsr-v3", 4)) == 4


# City100


def city100(folder: Path, numbers: Sequence[int] = (1, 20, 21, 100), lr: int = 8) -> Pairs:
    """HR of 8 x 8; LR of the same size unless said otherwise."""
    pairs = {}
    for number in numbers:
        name = f"{number:03d}"
        pairs[name] = (folder / f"{name}H.PNG", folder / f"{name}L.PNG")
        for path, size in zip(pairs[name], (8, lr), strict=True):
            picture(path, size, size)
    return pairs


@pytest.mark.parametrize("place", ["", "City100_iPhoneX", "City100/City100_NikonD5500"])
def test_city100(tmp_path: Path, place: str) -> None:
    """Numbers up to 20 are for validation."""
    pairs = city100(tmp_path / place)
    training = {name: pairs[name] for name in ("021", "100")}
    assert find_pairs(tmp_path, "city100", 2, "enlarged") == training
    for index, side in enumerate(SIDES):
        found = find_files(tmp_path, side, "city100", 2, "enlarged")
        assert found == {name: pair[index] for name, pair in training.items()}
    validation = {name: pairs[name] for name in ("001", "020")}
    assert find_val(tmp_path, "city100", 2, "enlarged") == (validation, {})


def test_city100_with_lr_images_alone(tmp_path: Path) -> None:
    """Further LR images need no HR images, but pairs need both."""
    pairs = city100(tmp_path)
    pairs["021"][0].unlink()
    found = find_files(tmp_path, "lr", "city100", 2, "enlarged")
    assert found == {name: pairs[name][1] for name in ("021", "100")}
    assert list(find_files(tmp_path, "hr", "city100", 2, "enlarged")) == ["100"]
    with pytest.raises(UserError) as caught:
        find_pairs(tmp_path, "city100", 2, "enlarged")
    assert str(caught.value) == f"{pairs['021'][1]}: has no partner 021H in {tmp_path}"


def test_city100_as_native_images(tmp_path: Path) -> None:
    path = city100(tmp_path, [30])["030"][1]
    sentence = f"{path}: has the size of 030H.PNG; {TO_ENLARGED}"
    assert faults(tmp_path, 2, "city100") == {sentence}
    picture(path, 4, 4)  # somebody has reduced it
    assert list(find_pairs(tmp_path, "city100", 2)) == ["030"]
    sentence = f"{path}: has not the size of 030H.PNG, {TO_NATIVE}"
    assert faults(tmp_path, 2, "city100", "enlarged") == {sentence}


def test_city100_of_two_cameras(tmp_path: Path) -> None:
    """Their lenses differ, and so does their scale."""
    for camera in ("City100_NikonD5500", "City100_iPhoneX"):
        city100(tmp_path / camera)
    first, second = sorted(tmp_path.iterdir())
    sentence = (
        f"{tmp_path}: holds the images of several cameras, in {first} and {second}; name the "
        "folder of one of them"
    )
    assert faults(tmp_path, 2, "city100", "enlarged") == {sentence}


@pytest.mark.parametrize(("numbers", "said"), [((5, 20), "from 21 on"), ((21, 40), "up to 20")])
def test_city100_without_a_part(tmp_path: Path, numbers: Sequence[int], said: str) -> None:
    city100(tmp_path, numbers)
    sentence = (
        f"{tmp_path}: neither it nor a folder up to two levels deeper holds images NNNH and NNNL "
        f"of the numbers {said}, as the folders City100_iPhoneX and City100_NikonD5500 do"
    )
    if said == "from 21 on":
        assert faults(tmp_path, 2, "city100", "enlarged") == {sentence}
    else:
        with pytest.raises(UserError) as caught:
            find_val(tmp_path, "city100", 2, "enlarged")
        assert str(caught.value) == sentence


@pytest.mark.parametrize("preset", ["realsr", "city100"])
def test_a_picture_beside_a_data_set_does_not_make_it_plain(tmp_path: Path, preset: Preset) -> None:
    realsr(tmp_path / "RealSR")
    city100(tmp_path / "RealSR" / "City100_iPhoneX")
    picture(tmp_path / "RealSR" / "cover.png", 8, 8)
    found = find_files(
        tmp_path / "RealSR", "lr", preset, 4, "native" if preset == "realsr" else "enlarged"
    )
    assert len(found) == (4 if preset == "realsr" else 2)


def test_city100_with_other_images(tmp_path: Path) -> None:
    city100(tmp_path)
    picture(tmp_path / "031.png", 8, 8)
    sentence = f"{tmp_path / '031.png'}: is not called NAMEH or NAMEL, as all images of City100 are"
    assert faults(tmp_path, 2, "city100", "enlarged") == {sentence}


def test_city100_in_two_formats(tmp_path: Path) -> None:
    city100(tmp_path)
    picture(tmp_path / "021h.bmp", 8, 8)
    (sentence,) = faults(tmp_path, 2, "city100", "enlarged")
    assert sentence in {
        f"{tmp_path / one}: there is also {other}; remove one"
        for one, other in (("021h.bmp", "021H.PNG"), ("021H.PNG", "021h.bmp"))
    }


# Plain folders


def test_folders_that_differ_in_case_only(tmp_path: Path) -> None:
    for name in ("hr", "HR", "lr"):
        (tmp_path / name).mkdir()
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system does not tell letters apart")
    with pytest.raises(UserError, match="holds the folders HR and hr, which differ in case only"):
        find_val(tmp_path, "none", 4)


def test_links_are_followed(tmp_path: Path) -> None:
    tree(tmp_path / "disk", TRACK1[1], "plain")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "train-target").symlink_to(tmp_path / "disk" / "train-target")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.png").symlink_to(tmp_path / "disk" / "train-target" / "1.png")
    assert list(find_files(tmp_path / "root", "hr", "ntire2020-track1", 4)) == ["1", "2", "3"]
    assert list(find_files(tmp_path / "files", "hr", "none", 4)) == ["a"]


@pytest.mark.parametrize("preset", get_args(Preset))
def test_a_missing_folder(tmp_path: Path, preset: Preset) -> None:
    folder = tmp_path / "nowhere"
    for call in (
        lambda: find_files(folder, "hr", preset, 4),
        lambda: find_pairs(folder, preset, 4),
        lambda: find_val(folder, preset, 4),
    ):
        with pytest.raises(UserError) as caught:
            call()
        assert str(caught.value) == f"{folder}: there is no such folder"
