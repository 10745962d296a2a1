"""CVAT for images 1.1: what is no plain box, and what cannot be read."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from multibox.data import cvat
from multibox.data.labels import Labels
from multibox.data.layouts import find_layout
from multibox.errors import DataError


def write(folder: Path, inner: str, file_name: str = "annotations.xml") -> None:
    """A set of one image of 100 x 50 pixels, `images/a.png`, and the classes cat and dog."""
    labels = "<labels><label><name>cat</name></label><label><name>dog</name></label></labels>"
    image = f'<image id="0" name="a.png" width="100" height="50">{inner}</image>'
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / file_name).write_text(f"<annotations><meta><task>{labels}</task></meta>{image}</annotations>", "utf-8")
    _, data = cv2.imencode(".png", np.zeros((50, 100, 3), np.uint8))
    (folder / "images/a.png").write_bytes(data.tobytes())


def read(folder: Path) -> Labels:
    layout = find_layout(folder)
    assert layout.format == "CVAT"
    parts, names = cvat.read_cvat(layout)
    assert names == {0: "cat", 1: "dog"}
    return parts["train"]


@pytest.mark.parametrize(
    ("shape", "box", "doubts"),
    [
        ('<box label="dog" xtl="10" ytl="5.5" xbr="60.25" ybr="25"/>', (10, 5.5, 60.25, 25), 0),
        ('<ellipse label="dog" cx="30" cy="20" rx="10" ry="5"/>', (20, 15, 40, 25), 0),
        ('<polygon label="dog" points="10.0,5.0;60.0,9.5;30,25"/>', (10, 5, 60, 25), 1),
        # A quarter turn about the centre, 35, 15: 20 wide and 50 high becomes 50 wide and 20 high
        ('<box label="dog" xtl="25" ytl="-10" xbr="45" ybr="40" rotation="90.00"/>', (10, 5, 60, 25), 1),
    ],
)
def test_a_shape_is_read_as_the_box_around_it(tmp_path, shape, box, doubts):
    write(tmp_path, shape)
    part = read(tmp_path)
    (image,) = part.images
    (item,) = image.objects
    assert (item.number, *item[1:5]) == (1, *(pytest.approx(value) for value in box))
    assert len(part.doubts) == doubts
    assert not part.problems


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ('<points label="cat" points="1,2"/>', "which has no box"),
        ('<box label="cat" xtl="10" ytl="5" xbr="left" ybr="9"/>', "numbers cannot be read"),
        ('<box label="cat" xtl="10" ytl="5" xbr="nan" ybr="9"/>', "numbers cannot be read"),
        ('<box label="cat" xtl="10" ytl="5"/>', "numbers cannot be read"),
        ('<polygon label="cat" points="1;2"/>', "numbers cannot be read"),
        ('<box xtl="10" ytl="5" xbr="20" ybr="9"/>', "has no class"),
        ('<box label="cat" xtl="10" ytl="5" xbr="10" ybr="9"/>', "width"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, shape, reason):
    write(tmp_path, shape)
    part = read(tmp_path)
    ((line,),) = part.problems.values()
    assert 'annotations.xml: image "a.png", object 1' in line
    assert reason in line
    assert part.images[0].objects == []


def test_a_missing_image_is_named(tmp_path):
    write(tmp_path, "")
    (tmp_path / "images/a.png").rename(tmp_path / "images/a.jpg")
    part = read(tmp_path)
    ((line,),) = part.problems.values()
    assert 'image "a.png" is missing; there is a.jpg' in line


def track(*boxes: str, label: str = "cat") -> str:
    return f'<track id="0" label="{label}">{"".join(boxes)}</track>'


def box_of_frame(frame: int, outside: int, x: float = 10) -> str:
    return f'<box frame="{frame}" outside="{outside}" xtl="{x}" ytl="5" xbr="50" ybr="25"/>'


def test_a_track_is_an_object_on_each_frame_that_it_is_seen_on(tmp_path):
    write(tmp_path, "")
    for number in (3, 4, 5):
        shutil.copy(tmp_path / "images/a.png", tmp_path / f"images/frame_{number:06d}.png")
    (tmp_path / "images/a.png").unlink()
    tracks = [
        track(box_of_frame(3, 0), box_of_frame(4, 0, 20), box_of_frame(5, 1, 30)),
        track(box_of_frame(3, 1), box_of_frame(4, 0, 40), label="dog"),
        track(box_of_frame(9, 0)),
    ]
    file = tmp_path / "annotations.xml"
    file.write_text(f"{file.read_text().partition('<image')[0]}{''.join(tracks)}</annotations>")

    part = read(tmp_path)

    found = {image.file_name: [(item.number, item.x1) for item in image.objects] for image in part.images}
    assert found == {"frame_000003.png": [(0, 10)], "frame_000004.png": [(0, 20), (1, 40)], "frame_000005.png": []}
    assert part.problems == {
        "annotated images that are missing": ['annotations.xml: image "frame_000009.PNG" is missing']
    }


def test_a_video_without_its_frames_is_refused_with_what_to_export(tmp_path):
    (tmp_path / "annotations.xml").write_text('<annotations><track id="0" label="cat"/></annotations>')
    with pytest.raises(DataError, match=r"the frames of this video are missing.*with its images"):
        cvat.read_cvat(find_layout(tmp_path))


def test_two_files_of_no_split_are_a_question(tmp_path):
    write(tmp_path, "", "monday.xml")
    write(tmp_path, "", "tuesday.xml")
    with pytest.raises(DataError, match="could both be"):
        find_layout(tmp_path)


def test_a_split_has_its_own_images_not_those_of_another(tmp_path):
    for split in ("train", "val"):
        write(tmp_path, "", f"annotations_{split}.xml")
        (tmp_path / "images" / split).mkdir()
    (tmp_path / "images/a.png").rename(tmp_path / "images/train/a.png")
    parts, _ = cvat.read_cvat(find_layout(tmp_path))
    assert parts["train"].root == tmp_path / "images/train"
    assert len(parts["train"].images) == 1
    assert parts["val"].images == []
