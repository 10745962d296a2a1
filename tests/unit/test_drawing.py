from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from multibox import drawing as module
from multibox.drawing import colour, draw, drawable_name, save_drawing
from multibox.errors import DataError, OptionError
from multibox.structures import Detections, Image


def detections(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    """From (x1, y1, x2, y2, score, label), best first."""
    table = np.array(rows, dtype=np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def grey(height: int, width: int) -> Image:
    return np.full((height, width, 3), 128, dtype=np.uint8)


def changed(before: Image, after: Image) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels that differ."""
    rows, columns = np.nonzero((before != after).any(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_image_is_not_changed_and_the_drawing_has_its_size() -> None:
    image = grey(480, 640)
    drawing = draw(image, detections((0.2, 0.3, 0.6, 0.8, 0.9, 0)), ["cat"])
    assert (image == 128).all()
    assert drawing.shape == image.shape
    assert (drawing != 128).any()


def test_frame_has_the_colour_of_its_class_at_the_place_of_its_box() -> None:
    drawing = draw(grey(400, 400), detections((0.25, 0.5, 0.75, 0.9, 0.9, 1)), ["cat", "dog"])
    #  x = 0.25 * 400 = 100 and 0.75 * 400 - 1 = 299; y = 0.5 * 400 = 200 and 0.9 * 400 - 1 = 359
    for x, y in [(100, 280), (299, 280), (200, 200), (200, 359)]:
        assert tuple(drawing[y, x]) == colour(1)
    assert tuple(drawing[280, 200]) == (128, 128, 128)


def test_nothing_below_the_threshold_is_drawn() -> None:
    image = grey(200, 200)
    found = detections((0.1, 0.1, 0.5, 0.5, 0.29, 0))
    assert (draw(image, found, ["cat"]) == image).all()
    assert (draw(image, found, ["cat"], threshold=None) == image).all()
    assert (draw(image, found, ["cat"], threshold=0.2) != image).any()


def test_no_detections_draw_nothing() -> None:
    image = grey(200, 200)
    assert (draw(image, detections(), ["cat"]) == image).all()


def test_better_frame_is_drawn_on_top() -> None:
    #  The two frames cross at (100, 150), far from both labels.
    found = detections((0.25, 0.1, 0.9, 0.9, 0.8, 0), (0.1, 0.375, 0.8, 0.8, 0.5, 1))
    drawing = draw(grey(400, 400), found, ["cat", "dog"])
    assert tuple(drawing[150, 100]) == colour(0)


@pytest.mark.parametrize(
    "box",
    [(0.0, 0.0, 0.2, 0.2), (0.8, 0.0, 1.0, 0.2), (0.0, 0.8, 0.2, 1.0), (0.8, 0.8, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)],
)
def test_whole_label_is_inside_the_image(box: tuple[float, float, float, float]) -> None:
    """A label at a border shows as many coloured pixels as in the middle of the image."""
    name = "a long class name"
    middle = draw(grey(400, 800), detections((0.4, 0.5, 0.6, 0.7, 0.9, 0)), [name])
    at_border = draw(grey(400, 800), detections((*box, 0.9, 0)), [name])
    rows_of_label = [int((image == colour(0)).all(axis=2).sum(axis=1).max()) for image in (middle, at_border)]
    assert rows_of_label[1] >= rows_of_label[0] - 1


def test_labels_of_boxes_that_begin_alike_do_not_cover_each_other() -> None:
    frame = (100, 100, 200, 200)
    taken: list[module.Rectangle] = []
    for _ in range(3):
        taken.append(module._free_place(frame, (80, 20), (640, 480), taken))
    #  above, below, inside at the top
    assert taken == [(100, 80, 180, 100), (100, 200, 180, 220), (100, 100, 180, 120)]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 8), (3, 300), (300, 3), (96, 128), (2160, 3840)])
def test_any_image_size_can_be_drawn_on(height: int, width: int) -> None:
    found = detections((0.0, 0.0, 1.0, 1.0, 0.9, 0), (0.5, 0.5, 0.5, 0.5, 0.8, 1), (-0.5, -0.5, 2.0, 2.0, 0.7, 1))
    assert draw(grey(height, width), found, ["cat", "a class with a very long name"]).shape == (height, width, 3)


def test_lines_and_letters_grow_with_the_image() -> None:
    def label_height(scale: int) -> int:
        image = grey(240 * scale, 320 * scale)
        box = changed(image, draw(image, detections((0.25, 0.5, 0.75, 0.9, 0.9, 0)), ["cat"]))
        return 120 * scale - box[1]

    assert label_height(8) > 3 * label_height(2)


def test_same_classes_have_the_same_colours_every_time() -> None:
    assert [colour(label) for label in range(3)] == [(0, 159, 230), (233, 180, 86), (115, 158, 0)]
    assert colour(80) == colour(0)


def test_colours_of_80_classes_differ() -> None:
    lab = np.array([[colour(label) for label in range(80)]], dtype=np.float32) / 255
    lab = cv2.cvtColor(lab, cv2.COLOR_BGR2LAB)[0]
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 1000 * np.eye(80)
    # A difference of 2.3 in CIELAB is just noticeable.
    assert distances.min() > 7
    assert distances[:12, :12].min() > 20


def test_text_stands_out_from_every_label() -> None:
    def luminance(bgr: tuple[int, int, int]) -> float:
        linear = [value / 255 / 12.92 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in bgr]
        return 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]

    for label in range(80):
        dark, light = sorted([luminance(colour(label)), luminance(module._ink(colour(label)))])
        # WCAG 2 asks for 4.5 : 1.
        assert (light + 0.05) / (dark + 0.05) > 4.5


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("cat", "cat"),
        ("traffic light", "traffic light"),
        ("Müll", "Mull"),
        ("Straße", "Strasse"),
        ("łódź", "lodz"),
        ("ｃａｔ", "cat"),  # noqa: RUF001
        ("猫", "class 7"),
        ("кот", "class 7"),
        ("cat 猫", "class 7"),
        ("a\nb", "class 7"),
        ("", "class 7"),
    ],
)
def test_name_is_drawn_in_plain_letters_or_as_a_number(name: str, drawn: str) -> None:
    assert drawable_name(name, 7) == drawn


def test_drawing_keeps_name_and_sub_folders(tmp_path: Path) -> None:
    path = save_drawing(tmp_path / "out", "a/b/Ünï 1.jpg", grey(20, 30))
    assert path == tmp_path / "out/a/b/Ünï 1.jpg"
    data = np.fromfile(path, dtype=np.uint8)
    assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == (20, 30, 3)
    assert [file.name for file in path.parent.iterdir()] == ["Ünï 1.jpg"]


def test_png_is_saved_without_loss(tmp_path: Path) -> None:
    image = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    assert (cv2.imread(str(save_drawing(tmp_path, "x.PNG", image))) == image).all()


@pytest.mark.parametrize("name", ["x", "x.unknown", ".hidden"])
def test_name_without_a_known_ending_becomes_a_jpeg(tmp_path: Path, name: str) -> None:
    assert save_drawing(tmp_path, name, grey(8, 8)) == tmp_path / f"{name}.jpg"


@pytest.mark.parametrize("name", ["a/../x.jpg", "./x.jpg"])
def test_name_that_stays_inside_is_accepted(tmp_path: Path, name: str) -> None:
    save_drawing(tmp_path, name, grey(8, 8))
    assert (tmp_path / "x.jpg").is_file()


@pytest.mark.parametrize(
    "name",
    [
        *("../x.jpg", "a/../../x.jpg", "a/../../a/x.jpg", "..\\x.jpg", "/x.jpg", "\\x.jpg", "C:\\x.jpg", "C:x.jpg"),
        *("//host/share/x.jpg", "", ".", "..", "a/..", "x\0.jpg"),
    ],
)
def test_name_that_leads_outside_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    with pytest.raises(DataError, match="leads outside"):
        save_drawing(folder, name, grey(8, 8))
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written_is_an_option_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OptionError, match=r"x\.jpg: cannot write the drawing"):
        save_drawing(tmp_path / "out", "x.jpg", grey(8, 8))
