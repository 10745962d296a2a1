"""`multibox doctor` and `multibox convert` as commands: exit codes, files, words."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import cv2
import pytest

from tests.written_files import assert_as_documented

pytestmark = pytest.mark.e2e


@pytest.fixture
def data(shapes_data, tmp_path) -> Path:
    """The shapes as a folder of their own, which a test may spoil."""
    folder = tmp_path / "my photos"
    for name in ("train", "val"):
        source = {"train": shapes_data.train_root, "val": shapes_data.val_root}[name]
        shutil.copytree(source, folder / name)
        shutil.copy(source.with_suffix(".json"), folder / f"annotations_{name}.json")
    return folder


def test_it_examines_a_folder_and_writes_what_it_is_asked_for(multibox, data, tmp_path):
    report, picture = tmp_path / "a b" / "report.json", tmp_path / "mosaic.png"
    done = multibox("doctor", data, "--no-timing", "--json", report, "--save-mosaic", picture)
    # Sixteen small pictures have few objects of each class: a warning.
    assert done.returncode == 1, done.stderr
    assert f"{shlex.quote(str(data))}: a COCO set (train, val)." in done.stdout
    assert "fewer than 20 objects to train on" in done.stdout
    assert "Take yolox_nano-" in done.stdout
    assert_as_documented(report, "What doctor writes")
    content = json.loads(report.read_text())
    assert content["contents"]["train"]["num_images"] == 16
    assert content["exit_code"] == 1
    assert cv2.imread(str(picture)) is not None
    words, command = done.stdout.splitlines()[-2:]
    assert words == "Next, once you have looked at the warnings, train:"
    assert shlex.split(command) == ["multibox", "train", str(data)]


def test_errors_are_found_mended_and_gone(multibox, data, tmp_path):
    file = data / "annotations_train.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"][2] = 0
    file.write_text(json.dumps(content))
    (data / "train" / "image 01.png").write_bytes(b"no image")
    sheet = tmp_path / "samples.jpg"
    done = multibox("doctor", data.name, "--no-timing", "--save-mosaic", sheet, cwd=data.parent)
    assert done.returncode == 2
    lines = done.stdout.splitlines()
    # What only the file tells is known before the images are read; both come before any warning.
    severities = [line.split()[0] for line in lines if line.startswith(("error", "warning", "note"))]
    assert severities == ["error", "warning", "error"]
    assert "error   train: 1 bad box" in done.stdout
    assert '        image "image 01.png" cannot be decoded' in lines
    assert sheet.exists()
    assert lines[-1] == "  multibox doctor 'my photos' --no-timing --fix 'my photos-fixed'"
    fixed = multibox(*shlex.split(lines[-1])[1:], cwd=data.parent)
    assert fixed.returncode == 2
    assert "2 changes listed" in fixed.stdout
    again = multibox(*shlex.split(fixed.stdout.splitlines()[-1])[1:], "--no-timing", cwd=data.parent)
    assert again.returncode == 1
    assert "\nerror" not in again.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "Name a data set"),
        (["absent folder"], "absent folder: there is no such folder"),
        (["--train-ann-files", "a.json"], "go together"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(multibox, tmp_path, arguments, reason):
    done = multibox("doctor", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_training_says_what_is_questionable(multibox, train_arguments, tmp_path):
    done = multibox(*train_arguments, "--epochs", "1", "--save-checkpoints-to", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "train: fewer than 20 objects to train on:" in done.stdout
    assert "`multibox doctor` tells more of this." in done.stdout


def test_convert_says_how_to_train_and_refuses_what_needs_none(multibox, data, tmp_path):
    yolo = tmp_path / "yolo"
    shutil.copytree(data / "val", yolo / "images" / "train")
    (yolo / "labels" / "train").mkdir(parents=True)
    (yolo / "labels" / "train" / "image 00.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (yolo / "data.yaml").write_text("train: images/train\nnames: [shape]\n")
    done = multibox("convert", yolo, "--save-to", tmp_path / "as coco")
    assert done.returncode == 0, done.stderr
    assert "8 images, 1 object of 1 class" in done.stdout
    assert done.stdout.splitlines()[-1] == f"  multibox train {yolo}"
    refused = multibox("convert", data, "--save-to", tmp_path / "nothing")
    assert refused.returncode == 2
    assert "a COCO set already" in refused.stderr


def test_convert_writes_other_formats_of_coco_too_and_replaces_no_file(multibox, data, tmp_path):
    done = multibox("convert", data, "--save-to", "as yolo", "--format", "yolo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "val.json: 8 images, " in done.stdout
    assert done.stdout.splitlines()[-1] == (
        f"YOLO has images beside the labels: copy what is in {data / 'train'} into as yolo/images/train and what is in "
        f"{data / 'val'} into as yolo/images/val."
    )
    shutil.copytree(data / "train", tmp_path / "as yolo/images/train")
    shutil.copytree(data / "val", tmp_path / "as yolo/images/val")
    back = multibox("convert", "as yolo", "--save-to", "as coco", cwd=tmp_path)
    assert back.returncode == 0, back.stderr
    (first, *_) = done.stdout.splitlines()
    assert first.partition(": ")[2] in back.stdout  # as many images, objects and classes
    again = multibox("convert", data, "--save-to", "as yolo", "--format", "yolo", cwd=tmp_path)
    assert again.returncode == 2
    assert "there is such a file already" in again.stderr


def yolo_set(folder: Path, images: Path, *labels: str) -> Path:
    shutil.copytree(images, folder / "images")
    (folder / "labels").mkdir()
    for image, text in zip(sorted((folder / "images").iterdir()), labels, strict=False):
        (folder / "labels" / image.with_suffix(".txt").name).write_text(text)
    (folder / "data.yaml").write_text("train: images\nnames: [shape]\n")
    return folder


@pytest.mark.parametrize(
    ("labels", "code", "words"),
    [
        (["0 0.5 0.5 0.2 0.2\n"] * 8, 0, "Next, train:\n  multibox train"),
        (["0 0.5 0.5 0.2 0.2\n"] * 7 + ["0 nan 0.5 0.2 0.2\n"], 1, "1 things of "),
        (["0 nan 0.5 0.2 0.2\n"] * 8, 2, "not one object of it can be read"),
        (["0 80 60 32 24\n"] * 8, 2, "but as centre and size (x, y of the centre, width, height) in pixels"),
    ],
)
def test_convert_invites_to_train_only_if_nothing_is_lost(multibox, data, tmp_path, labels, code, words):
    yolo = yolo_set(tmp_path / "yolo", data / "val", *labels)
    done = multibox("convert", yolo, "--save-to", tmp_path / "as coco")
    assert done.returncode == code, done.stderr
    assert words in done.stdout + done.stderr
    assert ("Next, train:" in done.stdout) == (code == 0)


def test_doctor_mends_boxes_in_pixels_and_says_so(multibox, data, tmp_path):
    yolo = yolo_set(tmp_path / "yolo", data / "val", *["0 80 60 32 24\n"] * 8)
    done = multibox("doctor", yolo, "--no-timing", "--fix", tmp_path / "fixed")
    assert done.returncode == 2
    assert "all 8 boxes do not fit as centre and size" in done.stdout
    content = json.loads((tmp_path / "fixed" / "annotations_train.json").read_text())
    assert {tuple(annotation["bbox"]) for annotation in content["annotations"]} == {(64, 48, 32, 24)}


def test_doctor_mends_nothing_of_a_set_of_which_nothing_is_left(multibox, data, tmp_path):
    yolo = yolo_set(tmp_path / "yolo", data / "val", *["0 nan 0.5 0.2 0.2\n"] * 8)
    done = multibox("doctor", yolo, "--no-timing", "--fix", tmp_path / "fixed")
    assert done.returncode == 2
    assert "not one object is left to train on" in done.stderr
    assert not (tmp_path / "fixed").exists()


def test_a_zip_is_read_in_its_place(multibox, data, tmp_path):
    yolo = yolo_set(tmp_path / "yolo", data / "val", *["0 0.5 0.5 0.2 0.2\n"] * 8)
    archive = shutil.make_archive(str(tmp_path / "my export"), "zip", yolo.parent, "yolo")
    shutil.rmtree(yolo)
    done = multibox("doctor", archive, "--no-timing")
    assert done.returncode == 1, done.stderr
    assert "8 images, 160 x 120 px; 8 objects" in done.stdout
    assert f"{shlex.quote(archive)}: a YOLO set" in done.stdout
    converted = multibox("convert", archive, "--save-to", tmp_path / "as coco")
    assert converted.returncode == 0, converted.stderr
    assert [path.name for path in (tmp_path / "as coco").iterdir()] == ["annotations_train.json"]
    # What was written says where the images are.
    again = multibox("doctor", tmp_path / "as coco", "--no-timing")
    assert "8 images, 160 x 120 px; 8 objects" in again.stdout


def test_nothing_is_written_over_what_is_read(multibox, data):
    for option, place in (("--json", "annotations_train.json"), ("--save-mosaic", "train/image 00.png")):
        before = (data / place).read_bytes()
        done = multibox("doctor", data, "--no-timing", option, data / place)
        assert done.returncode == 2
        assert f"{option}: this would write over" in done.stderr
        assert (data / place).read_bytes() == before


def test_training_refuses_boxes_that_all_mean_something_else(multibox, data, train_arguments, tmp_path):
    file = data / "annotations_train.json"
    content = json.loads(file.read_text())
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        annotation["bbox"] = [x, y, x + width, y + height]
    file.write_text(json.dumps(content))
    arguments = [*train_arguments[:7], "--train-ann-files", file, "--train-data-roots", data / "train"]
    done = multibox(*arguments, "--epochs", "1", "--save-checkpoints-to", tmp_path / "out")
    assert done.returncode == 2
    assert "but as two corners (x1, y1, x2, y2) in pixels" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_set_without_a_usable_image_may_be_mended_all_the_same(multibox, data, tmp_path):
    for name in ("train", "val"):
        file = data / f"annotations_{name}.json"
        content = json.loads(file.read_text())
        for image in content["images"]:
            image["width"], image["height"] = 320, 240  # the images were halved after they were annotated
        for annotation in content["annotations"]:
            annotation["bbox"] = [2 * value for value in annotation["bbox"]]
        file.write_text(json.dumps(content))
    done = multibox("doctor", data, "--no-timing", "--fix", tmp_path / "fixed")
    assert done.returncode == 2
    assert "16 images that cannot be used" in done.stdout
    assert "16 images differ by the factor 0.5" in done.stdout
    again = multibox("doctor", tmp_path / "fixed", "--no-timing")
    assert again.returncode == 1, again.stdout + again.stderr


@pytest.mark.parametrize("names", [[], ["notes.txt"]])
def test_an_archive_without_a_data_set_is_called_by_its_own_name(multibox, tmp_path, names):
    (tmp_path / "empty").mkdir()
    for name in names:
        (tmp_path / "empty" / name).write_text("nothing")
    archive = shutil.make_archive(str(tmp_path / "my export"), "zip", tmp_path / "empty")
    done = multibox("doctor", archive, "--no-timing")
    assert done.returncode == 2
    assert done.stderr.startswith(f"{archive}: this is no data set that multibox knows.")
