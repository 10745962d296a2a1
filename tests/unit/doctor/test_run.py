"""What the doctor finds: each fault is planted in a small set, and nothing else is found in it."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rich.console import Console

from multibox import config
from multibox.config import bundled_templates
from multibox.data import coco
from multibox.data.layouts import Split
from multibox.doctor import checks, duplicates, looks, orientation
from multibox.doctor.contact_sheet import CELL, choose, contact_sheet
from multibox.doctor.contents import contents
from multibox.doctor.fixing import fix
from multibox.doctor.model_fit import (
    Speed,
    TemplateFit,
    advise,
    fit_templates,
    measure_speed,
    minutes,
    scaled_speed,
    with_times,
)
from multibox.doctor.run import Examination, Silence, doctor, examination_to_plain
from multibox.doctor.tables import ConsoleDisplay, times_sentence
from multibox.errors import DataError, OptionError
from tests.conftest import set_orientation


def picture(seed: int, size: tuple[int, int] = (120, 80)) -> np.ndarray:
    """Blots that no other seed gives."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)


def dataset(folder: Path, boxes: list[list[tuple[str, list[float]]]], *, first_seed: int = 0, **changes: Any) -> Split:
    """A set of one picture for each list of (class, [x, y, width, height])."""
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    ids = {"cat": 1, "dog": 2}
    for number, objects in enumerate(boxes):
        name = f"picture {number}.jpg"
        cv2.imwrite(str(folder / "images" / name), picture(first_seed + number))
        images.append({"id": number, "file_name": name, "width": 120, "height": 80})
        for label, box in objects:
            annotations.append({"id": len(annotations), "image_id": number, "category_id": ids[label], "bbox": box})
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    content = {"images": images, "annotations": annotations, "categories": categories} | changes
    (folder / "a.json").write_text(json.dumps(content), encoding="utf-8")
    return Split(folder / "a.json", folder / "images")


def read(split: Split) -> coco.CocoData:
    return coco.read([split.annotation_file], [split.root], skip_bad=True)


def twins_of(splits: dict[str, coco.CocoData]) -> list[duplicates.Twins]:
    return duplicates.find_twins({name: seen.looks for name, seen in looks.see(splits).items()})


GOOD = [[("cat", [10, 10, 30, 20]), ("dog", [60, 20, 40, 30])]] * 20


def kinds(found: Any) -> list[tuple[str, str, int]]:
    return [(finding.severity, finding.kind, finding.count) for finding in found]


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([], [("note", "images-without-objects", 1)]),
        # IoU of boxes 30 x 20 one pixel apart: 29 * 20 / (31 * 20) = 0.94
        ([("cat", [10, 10, 30, 20]), ("cat", [11, 10, 30, 20])], [("warning", "boxes-drawn-twice", 1)]),
        ([("cat", [10, 10, 30, 20]), ("dog", [11, 10, 30, 20])], [("warning", "objects-of-two-classes", 1)]),
        # Two pixels apart: 28 / 32 = 0.875, two objects side by side.
        ([("cat", [10, 10, 30, 20]), ("cat", [12, 10, 30, 20])], []),
        ([("cat", [10, 10, 2.9, 20])], [("warning", "tiny-boxes", 1)]),
        ([("cat", [10, 10, 3, 3])], []),
        # 118 x 78 of 120 x 80 is 0.959 of the picture, 117 x 78 is 0.951, 116 x 78 is 0.9425
        ([("cat", [1, 1, 118, 78])], [("warning", "full-frame-boxes", 1)]),
        ([("cat", [1, 1, 116, 78])], []),
    ],
)
def test_questionable_boxes(tmp_path, objects, expected):
    assert kinds(checks.questionable("train", read(dataset(tmp_path, [objects])))) == expected


def test_crowds_may_cover_what_is_in_them(tmp_path):
    split = dataset(tmp_path, [[("cat", [10, 10, 30, 20]), ("cat", [10, 10, 30, 20])]])
    content = json.loads(split.annotation_file.read_text())
    content["annotations"][1]["iscrowd"] = 1
    split.annotation_file.write_text(json.dumps(content))
    assert kinds(checks.questionable("train", read(split))) == []


def test_all_that_training_refuses_is_named_by_kind(tmp_path):
    split = dataset(tmp_path, [[("cat", [10, 10, 0, 20]), ("cat", [200, 10, 5, 5]), ("dog", [-5, 1, 30, 30])], []])
    (split.root / "picture 1.jpg").write_bytes(b"no picture")
    found = list(checks.unusable("val", read(split)))
    assert kinds(found) == [
        ("error", "bad-boxes", 2),
        ("error", "images-that-cannot-be-used", 1),
        ("warning", "boxes-over-the-border", 1),
    ]
    assert 'picture 0.jpg") has a box of width 0' in found[0].examples[0]


def test_classes_with_few_objects_are_named(tmp_path):
    train = read(dataset(tmp_path / "train", [[("cat", [10, 10, 30, 20])]] * 19 + [[("dog", [1, 1, 9, 9])]] * 20))
    val = read(dataset(tmp_path / "val", [[("cat", [10, 10, 30, 20])]]))
    found = list(checks.classes_with_few_objects({"train": train, "val": val}))
    assert [(one.kind, one.split, one.text) for one in found] == [
        ("classes-with-few-objects", "train", "fewer than 20 objects to train on: cat (19)"),
        ("classes-not-measured", "val", "no object to measure on: dog"),
    ]


def test_contents_by_hand(tmp_path):
    data = read(dataset(tmp_path, [[("cat", [0, 0, 30, 20])], [("cat", [0, 0, 60, 40])], []]))
    found = contents(data)
    assert (found.num_images, found.num_objects, found.num_empty, found.commonest_size) == (3, 2, 1, (120, 80))
    cats, dogs = found.classes
    # 30 of 120 by 20 of 80 is a quarter of the side, 60 by 40 a half; percentiles between them are linear.
    assert cats.sides == pytest.approx((27.5, 37.5, 47.5), abs=1e-4)
    assert (cats.num_objects, cats.num_images, dogs.num_objects, dogs.sides) == (2, 2, 0, None)


@pytest.mark.parametrize("change", ["same file", "smaller", "compressed", "brighter"])
def test_a_picture_of_train_is_found_again_in_val(tmp_path, change):
    train = dataset(tmp_path / "train", GOOD[:6])
    val = dataset(tmp_path / "val", GOOD[:6], first_seed=100)
    image = picture(3)
    target = val.root / "picture 5.jpg"
    if change == "same file":
        shutil.copy(train.root / "picture 3.jpg", target)
    elif change == "smaller":
        cv2.imwrite(str(target), cv2.resize(cv2.resize(image, (60, 40)), (120, 80)))
    elif change == "compressed":
        cv2.imwrite(str(target), image, [cv2.IMWRITE_JPEG_QUALITY, 20])
    else:
        cv2.imwrite(str(target), cv2.convertScaleAbs(image, alpha=0.8, beta=30))
    (twin,) = twins_of({"train": read(train), "val": read(val)})
    assert (twin.first, twin.second) == (("train", "picture 3.jpg"), ("val", "picture 5.jpg"))
    assert twin.is_same_file == (change == "same file")
    (finding,) = duplicates.report_twins([twin])
    assert (finding.severity, finding.kind) == ("warning", "leaks")


def test_a_file_that_is_there_twice_is_only_a_note(tmp_path):
    train = dataset(tmp_path, GOOD[:3])
    shutil.copy(train.root / "picture 0.jpg", train.root / "picture 2.jpg")
    twins = twins_of({"train": read(train)})
    assert kinds(duplicates.report_twins(twins)) == [("note", "same-files", 1)]


@pytest.mark.parametrize(
    ("value", "size", "expected"),
    [
        (1, (120, 80), []),
        (6, (120, 80), [("warning", "exif-stored", 1)]),
        (6, (80, 120), [("note", "exif-shown", 1)]),
        (3, (120, 80), [("warning", "exif-unknown", 1)]),
    ],
)
def test_turned_photographs_are_told_by_the_frame_of_their_boxes(tmp_path, value, size, expected):
    split = dataset(tmp_path, [[("cat", [10, 10, 20, 20])]])
    set_orientation(split.root / "picture 0.jpg", value)
    image = {"id": 0, "file_name": "picture 0.jpg", "width": size[0], "height": size[1]}
    content = json.loads(split.annotation_file.read_text()) | {"images": [image]}
    split.annotation_file.write_text(json.dumps(content))
    data = read(split)
    assert kinds(orientation.check_orientation("train", data, looks.see({"train": data})["train"].looks)) == expected


def test_large_images_are_a_note(tmp_path):
    split = dataset(tmp_path, [[("cat", [10, 10, 20, 20])]])
    cv2.imwrite(str(split.root / "picture 0.jpg"), np.zeros((2570, 2600, 3), np.uint8))
    image = {"id": 0, "file_name": "picture 0.jpg", "width": 2600, "height": 2570}
    content = json.loads(split.annotation_file.read_text()) | {"images": [image]}
    split.annotation_file.write_text(json.dumps(content))
    (finding,) = checks.much_larger("train", read(split))
    assert (finding.severity, finding.kind, finding.count) == ("note", "large-images", 1)


def test_shares_and_recall_by_hand(tmp_path):
    # At 256 px: 3.2 x 3.2, 12.8 x 12.8, 64 x 64 and 128 x 128 px.
    boxes = [[("cat", [50, 30, side * 120, side * 80])] for side in (0.0125, 0.05, 0.25, 0.5)]
    template = config.load_template(bundled_templates()["mobilenet_v2-2s_ssd-256x256"])
    found = fit_templates(read(dataset(tmp_path, boxes)), [template])[template.name]
    assert found.small == (0.25, 0.5, 0.5)
    assert (found.finest_cell_px, found.under_cell) == (found.least_px, found.under_least) == (16, 0.5)
    assert found.minutes is None
    assert 0 < found.recall_given <= found.recall_fitted <= 1
    assert (found.worst_class, found.worst_recall) == ("cat", found.recall_fitted)


def test_yolox_nano_has_cells_of_8_px_and_no_anchors(tmp_path):
    # At 256 px a cell is 8 px: sides of 7.7, 14.1, 64 and 128 px. The first two of the image have one cell in common.
    boxes = [[("cat", [50, 30, 3.6, 2.4]), ("dog", [49, 29, 6.6, 4.4])], [("cat", [50, 30, 30, 20])]]
    boxes.append([("cat", [30, 20, 60, 40])])
    template = config.load_template(bundled_templates()["yolox_nano-256x256"])
    found = fit_templates(read(dataset(tmp_path, boxes)), [template])["yolox_nano-256x256"]
    assert found.family == "yolox_nano"
    assert (found.finest_cell_px, found.under_cell) == (8, 0.25)
    assert (found.least_px, found.under_least) == (16, 0.5)
    assert found.without_own_cell == 0.25
    assert (found.recall_given, found.recall_fitted, found.worst_class, found.worst_recall) == (None,) * 4


def made_up(size: int, *, small: float, worst: float | None = None, family: str = "ssd", shared: float = 0.0):
    return TemplateFit(
        template=f"{family}-{size}",
        input_size=size,
        small=(0.0, 0.0, 0.5),
        recall_given=0.9 if worst else None,
        recall_fitted=0.95 if worst else None,
        worst_class="cat" if worst else None,
        worst_recall=worst,
        finest_cell_px=16,
        under_cell=small,
        family=family,
        least_px=16,
        under_least=small,
        without_own_cell=shared,
    )


@pytest.mark.parametrize(
    ("smalls", "worsts", "chosen"),
    [
        ((0.0, 0.0, 0.0), (0.9, 0.95, 1.0), 256),
        ((0.1, 0.05, 0.0), (0.9, 0.95, 1.0), 384),
        ((0.0, 0.0, 0.0), (0.7, 0.7, 0.9), 512),
        ((0.5, 0.4, 0.3), (0.9, 0.95, 1.0), 512),
    ],
)
def test_advice_is_the_smallest_input_that_serves(smalls, worsts, chosen):
    rows = zip((256, 384, 512), smalls, worsts, strict=True)
    fits = {f"{size}": made_up(size, small=small, worst=worst) for size, small, worst in rows}
    assert advise(fits).template == f"ssd-{chosen}"


@pytest.mark.parametrize(
    ("smalls", "shared", "chosen"),
    [
        ((0.0, 0.0), 0.0, "yolox_nano-256"),
        ((0.1, 0.0), 0.0, "yolox_nano-512"),
        ((0.0, 0.0), 0.1, "ssd-512"),
        ((0.4, 0.3), 0.0, "ssd-512"),
        ((0.4, 0.1), 0.0, "ssd-512"),
    ],
)
def test_the_other_family_is_advised_where_the_first_does_not_serve(smalls, shared, chosen):
    small, large = smalls
    own = [made_up(256, small=small, family="yolox_nano"), made_up(512, small=large, family="yolox_nano")]
    own = [dataclasses.replace(fit, without_own_cell=shared) for fit in own]
    others = [made_up(256, small=0.4, worst=0.9), made_up(512, small=0.05, worst=0.9)]
    assert advise({fit.template: fit for fit in [*others, *own]}, "yolox_nano").template == chosen


def test_where_nothing_serves_the_fewest_small_objects_decide():
    fits = [made_up(512, small=0.3, worst=0.9), made_up(640, small=0.1, family="yolox_nano")]
    advice = advise({fit.template: fit for fit in fits}, "ssd")
    assert advice.template == "yolox_nano-640"
    assert advice.reason.startswith("even at 640 px, 10% of the objects are under 16 px and 0% share a cell of 16 px")


def test_speed_is_measured(tmp_path, tiny_template_file):
    speed = measure_speed(read(dataset(tmp_path, GOOD[:4])), config.load_template(tiny_template_file))
    assert speed.images_per_second > 0
    assert speed.validation_seconds > 0


def test_times_of_other_sizes_follow_from_the_number_of_pixels():
    templates = {template.name: template for template in checks.shipped_templates()}
    fits = {
        name: dataclasses.replace(
            made_up(template.input.size, small=0, worst=1, family=config.family_of(template)), template=name
        )
        for name, template in templates.items()
    }
    ssds = [f"mobilenet_v2-2s_ssd-{size}x{size}" for size in (256, 384, 512)]
    speed, measured = Speed(45.0, 0.09), templates[ssds[1]]
    timed = with_times(fits, templates, speed, measured, num_images=1000, num_val_images=100)
    assert [name for name, fit in timed.items() if fit.minutes] == ssds
    timed = {fit.input_size: fit for fit in timed.values() if fit.minutes}
    # 512 px has (4 / 3) ** 2 = 16 / 9 of the pixels, 256 px (2 / 3) ** 2 = 4 / 9.
    assert scaled_speed(Speed(45.0, 0.09), 384, 512) == Speed(pytest.approx(45 * 9 / 16), pytest.approx(0.16))
    assert timed[256].images_per_second == pytest.approx(45 * 9 / 4)
    # 15 epochs of 1000 images at 45 a second and 100 at 0.09 s: 15 * (22.2 + 9) s = 7.81 minutes
    assert timed[384].minutes == pytest.approx(7.81, abs=0.01)
    assert timed[512].minutes == pytest.approx(timed[384].minutes * 16 / 9)
    assert [fit.is_measured for fit in timed.values()] == [False, True, False]
    assert times_sentence(timed) == (
        "Training mobilenet_v2-2s_ssd-384x384 takes about 8 minutes here, all epochs and validations included "
        "(45.0 images per second over a few steps), and by the number of "
        "pixels 3 minutes at 256 px and 14 minutes at 512 px. Both are rough."
    )


def test_minutes_by_hand():
    template = config.load_template(bundled_templates()["mobilenet_v2-2s_ssd-256x256"])
    # 15 epochs of 1000 images at 50 a second and 100 at a tenth of a second: 15 * (20 + 10) s
    assert minutes(template, 1000, 100, Speed(50.0, 0.1)) == pytest.approx(7.5)


def test_contact_sheet_shows_every_class_the_rarest_first(tmp_path):
    boxes = [[("cat", [10, 10, 30, 20])]] * 30
    boxes[17] = [("dog", [10, 10, 30, 20])]
    data = read(dataset(tmp_path, boxes))
    chosen = choose(data, 12)
    assert len(chosen) == 12
    assert chosen[0].file_name == "picture 17.jpg"
    sheet, one = contact_sheet(data), contact_sheet(read(dataset(tmp_path / "one", [[]])))
    assert sheet.shape[1] == one.shape[1] == 4 * CELL[0]
    # Three rows and a legend against one row and the same legend; no row is higher than its samples need.
    height, width = cv2.imread(str(chosen[0].path)).shape[:2]
    row = round(height * min(388 / width, 288 / height)) + 12
    assert sheet.shape[0] - one.shape[0] == 2 * row <= 2 * CELL[1]


def test_examination_of_a_good_set_is_clean_and_plain(tmp_path):
    train, val = (read(dataset(tmp_path / name, GOOD, first_seed=seed)) for name, seed in (("train", 0), ("val", 50)))
    found = doctor({"train": train, "val": val}, is_timed=False)
    assert found.findings == ()
    assert found.exit_code == 0
    assert json.loads(json.dumps(examination_to_plain(found)))["fits"][6]["input_size"] == 640


@pytest.mark.parametrize(
    ("severities", "code"), [((), 0), (("note",), 0), (("note", "warning"), 1), (("error", "warning"), 2)]
)
def test_exit_code_is_the_gravest(severities, code):
    found = tuple(checks.Finding(severity, "kind", "train", 1, "text") for severity in severities)
    assert Examination({}, found, {}, None, ()).exit_code == code


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_corrected_copy_has_nothing_left_to_correct(tmp_path):
    bad = [
        [("cat", [10, 10, 30, 20]), ("cat", [10, 10, 30, 20]), ("cat", [10, 10, 0, 20])],
        [("dog", [-10, 10, 30, 20])],
        [("dog", [10, 10, 30, 20])],
        [("dog", [10, 10, 50, 40])],
        [("dog", [10, 10, 50, 40])],
    ]
    train = dataset(tmp_path / "original ü" / "train", bad)
    (train.root / "picture 2.jpg").write_bytes(b"no picture")
    set_orientation(train.root / "picture 3.jpg", 6)
    content = json.loads(train.annotation_file.read_text())
    content["annotations"][-1]["id"] = 0
    content["annotations"].append({"id": 99, "image_id": 77, "category_id": 1, "bbox": [1, 1, 5, 5]})
    train.annotation_file.write_text(json.dumps(content))
    val = dataset(tmp_path / "original ü" / "val", [[("cat", [10, 10, 30, 20])]])
    shutil.copy(train.root / "picture 4.jpg", val.root / "picture 0.jpg")
    before = snapshot(tmp_path / "original ü")
    data = {"train": read(train), "val": read(val)}
    changes = fix({"train": train, "val": val}, tmp_path / "copy", twins=twins_of(data))
    assert snapshot(tmp_path / "original ü") == before
    assert [(one.what, one.why) for one in changes] == [
        ('image "picture 2.jpg" left out with 1 annotation', "it cannot be decoded"),
        ('image "picture 3.jpg" saved as its boxes see it', "EXIF orientation 6"),
        ('image "picture 4.jpg" left out with 1 annotation', "the same file is in val"),
        ('annotation 1 of "picture 0.jpg" left out', "the same object is there already"),
        ('annotation 2 of "picture 0.jpg" left out', "has a box of width 0"),
        ('annotation 3 of "picture 1.jpg" cut at the border', "it was [-10.0, 10.0, 30.0, 20.0]"),
        ("annotation 99 left out", "unknown image 77"),
    ]
    copies = {
        name: read(Split(tmp_path / "copy" / f"annotations_{name}.json", tmp_path / "copy" / name))
        for name in ("train", "val")
    }
    fixed = doctor(copies, is_timed=False)
    assert not [one for one in fixed.findings if one.severity == "error" or one.kind in {"leaks", "boxes-drawn-twice"}]
    assert [record.file_name for record in copies["train"].records] == [
        "picture 0.jpg",
        "picture 1.jpg",
        "picture 3.jpg",
    ]
    assert copies["train"].records[1].boxes_px.tolist() == [[0, 10, 20, 30]]
    turned = cv2.imread(str(tmp_path / "copy/train/picture 3.jpg"))
    assert turned.shape == (80, 120, 3)  # the frame of its boxes, and no EXIF that would turn it
    assert json.loads((tmp_path / "copy/changes.json").read_text(encoding="utf-8"))[0]["split"] == "train"


def test_a_corrected_copy_overwrites_nothing_and_leaves_nothing_half(tmp_path):
    split = dataset(tmp_path / "data", GOOD[:1])
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine.txt").write_text("mine")
    with pytest.raises(OptionError, match="is there already"):
        fix({"train": split}, tmp_path / "copy")
    broken = replace(split, annotation_file=tmp_path / "data" / "none.json")
    with pytest.raises(DataError, match="cannot read the annotations"):
        fix({"train": split, "val": broken}, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "data"]


def test_json_names_every_case_and_the_console_three(tmp_path):
    data = read(dataset(tmp_path, [[("cat", [10, 10, 2, 20])]] * 5))
    found = doctor({"train": data}, is_timed=False)
    (tiny,) = (one for one in examination_to_plain(found)["findings"] if one["kind"] == "tiny-boxes")
    assert [line.split(":")[0] for line in tiny["examples"]] == [f'"picture {i}.jpg"' for i in range(5)]
    console = Console(width=120, file=io.StringIO())
    ConsoleDisplay(console, lambda _: None).findings(list(found.findings))
    assert console.file.getvalue().count("2 x 20 px") == 3
    assert "and 2 more" in console.file.getvalue()
    assert f"-> {tiny['remedy']}" in console.file.getvalue()


class Breaking(Silence):
    """A listener that breaks an image as soon as it hears of a finding, and keeps what it hears."""

    def __init__(self, image: Path) -> None:
        self.image = image
        self.heard: list[list[str]] = []

    def findings(self, findings: Any) -> None:
        self.heard.append([finding.kind for finding in findings])
        self.image.write_bytes(b"no image")


def test_what_annotations_tell_is_told_before_any_image_is_read(tmp_path):
    split = dataset(tmp_path, [*GOOD, [("cat", [10, 10, 2, 20])], []])
    data = coco.read([split.annotation_file], [split.root], skip_bad=True, verify_images=False)
    listener = Breaking(split.root / "picture 3.jpg")
    found = doctor({"train": data}, is_timed=False, listener=listener)
    # Errors and warnings of the annotations, those of the images, and the notes of both.
    assert listener.heard == [["tiny-boxes"], ["images-that-cannot-be-used"], ["images-without-objects"]]
    assert [finding.severity for finding in found.findings] == ["error", "warning", "note"]
    assert found.contents["train"].num_images == 21
    assert [record.file_name for record in found.usable["train"].records if "3.jpg" in record.file_name] == [
        "picture 13.jpg"
    ]


def test_a_set_without_any_usable_image_is_examined_too(tmp_path):
    split = dataset(tmp_path, [[("cat", [10, 10, 30, 20])]] * 4)
    data = coco.read([split.annotation_file], [split.root], skip_bad=True, verify_images=False)
    for number in range(4):
        cv2.imwrite(str(split.root / f"picture {number}.jpg"), picture(number, (60, 40)))
    found = doctor({"train": data}, is_timed=False)
    assert (found.exit_code, found.contents, found.fits, found.advice) == (2, {}, {}, None)
    (error,) = (finding for finding in found.findings if finding.severity == "error")
    assert error.examples[0] == (
        'image "picture 0.jpg" measures 60x40 pixels, not 120x80 as annotated (4 images differ by the factor 0.5: they '
        "were resized after they were annotated; `multibox doctor ... --fix` scales their boxes)"
    )
