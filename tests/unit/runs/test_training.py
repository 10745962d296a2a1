"""What a training is made of before it begins: folders, names, data."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from multibox.errors import CheckpointError, DataError, OptionError, TemplateError
from multibox.runs.choosing import named_template
from multibox.runs.display import SilentDisplay
from multibox.runs.measuring import NamedData
from multibox.runs.run import next_free
from multibox.runs.training import Wish, train_on
from tests.unit.runs.conftest import blots, make_run, write_set


def test_many_at_a_time_get_different_folders(at_work):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: next_free(Path("runs"), "cats"), range(20)))
    assert set(folders) == {Path("runs/cats"), *(Path(f"runs/cats-{number}") for number in range(2, 21))}


@pytest.mark.parametrize(
    ("wish", "error", "reason"),
    [
        (Wish(minutes=1, epochs=1), OptionError, "--minutes and --epochs"),
        (Wish(val=Path("absent")), DataError, "absent: there is no such folder"),
        (Wish(val=Path("photos"), val_share=0.1), OptionError, "--val-share has no effect beside --val"),
        (Wish(load_weights="absent.pth"), CheckpointError, "absent.pth: there are no such weights"),
        (Wish(out=Path("runs/old")), OptionError, "there is a run in this folder already"),
        (Wish(name="a/b"), OptionError, "no name for a folder"),
        (Wish(device="cuda:99"), OptionError, "--device cuda:99: this machine has no such device"),
        (Wish(size="300"), OptionError, "--size 300: there is no such input size. Choose 256, 384, 512, 640 and auto"),
        (Wish(model="mobilenet_v2-2s_ssd-256x256", size="384"), OptionError, "has an input of 256 px"),
        (Wish(model="absent.yaml"), TemplateError, "absent.yaml: cannot read the template"),
    ],
)
def test_names_and_numbers_are_checked_before_anything_is_made(at_work, wish, error, reason):
    write_set(at_work / "photos", {"a.png": blots(1)})
    make_run(Path("runs/old"))
    with pytest.raises(error, match=reason):
        train_on(Path("photos"), wish, display=SilentDisplay())
    assert [path.name for path in Path("runs").iterdir()] == ["old"]


def test_a_folder_in_a_zip_is_data_as_well(at_work):
    write_set(at_work / "photos/inner", {"a.png": blots(1)})
    shutil.make_archive("photos", "zip", "photos")
    assert NamedData(Path("photos.zip/inner")).data == Path("photos.zip/inner")
    with pytest.raises(DataError, match=r"^photos\.zip/absent: there is no such folder or file\. Correct --val\."):
        train_on(Path("photos.zip/inner"), Wish(val=Path("photos.zip/absent")), display=SilentDisplay())


def test_data_that_are_refused_leave_no_folder(at_work):
    write_set(at_work / "photos", {"a.png": blots(1)})
    (at_work / "photos/a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="cannot be decoded"):
        train_on(Path("photos"), Wish(size="256"), display=SilentDisplay())
    assert sorted(path.name for path in at_work.iterdir()) == ["photos"]


def test_a_template_is_named_by_a_size_a_family_or_its_name(at_work):
    assert named_template("", "384").name == "yolox_nano-384x384"
    assert named_template("ssd", "512").name == "mobilenet_v2-2s_ssd-512x512"
    assert named_template("yolox_nano", "640").name == "yolox_nano-640x640"
    assert named_template("yolox_nano-256x256", "").input.size == 256
    assert named_template("", "") is None  # the data are to decide
    assert named_template("", "auto") is None
