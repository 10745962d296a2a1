"""docs/python.md and docs/tracking.md: their programs run as they are, and so do the examples in docstrings."""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import multibox
from multibox import config, errors
from multibox.runtime import opening, protocol

DOCS = Path(__file__).parents[2] / "docs"
CLASSES = ("red, tiny triangle", "square")
COLOURS_BGR = {"green": (40, 200, 60), "blue": (220, 90, 30), "red": (30, 30, 230)}

pytestmark = pytest.mark.e2e


def blocks(page: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run(program: str, names: dict[str, Any]) -> str:
    """What a program prints; `names` gets its names."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "the page", "exec"), names)
    return printed.getvalue()


@pytest.fixture
def folder(tmp_path: Path, tiny_template_file: Path, tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint and photographs, where the programs look for them; the working directory."""
    from multibox.weights.checkpoint import Checkpoint, save

    (tmp_path / "outputs").mkdir()
    (tmp_path / "photos").mkdir()
    template = config.load_template(tiny_template_file)
    save(tmp_path / "outputs/best.pth", Checkpoint(tiny_model.state_dict(), CLASSES, template))
    rng = np.random.default_rng(2)
    for name in ("photo.jpg", "photos/1.jpg", "photos/2.jpg"):
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 255, (120, 160, 3), dtype=np.uint8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_programs_of_the_page_run_one_after_the_other(folder: Path) -> None:
    names: dict[str, Any] = {}
    printed = "".join(run(program, names) for program in blocks("python.md"))

    found = names["found"]
    assert repr(found) in printed and str(found.size) in printed
    assert len(found) > 3 and names["best"] == found[0] and len(names["chosen"]) == 2
    assert set(names["squares"].names) == {"square"}
    assert all((folder / f"{name}.jpg").stat().st_size for name in ("drawn", "all", "three", "elsewhere"))
    assert len(names["sure"]) > 0
    for same in (names["other"], names["table"], json.loads(json.dumps(names["rows"]))):
        assert len(same) == len(names["sure"])
    assert "no such photo.jpg: the image is missing. Replace or remove it." in printed
    assert (names["first"].source, names["second"].source) == ("", "photos/2.jpg")


@pytest.mark.usefixtures("folder")
def test_the_examples_of_detectors_hold() -> None:
    detector = multibox.load("outputs/best.pth")
    names = {"detector": detector, "open_runtime": opening.open_runtime}
    found = [
        test for module in (protocol, opening, errors) for test in doctest.DocTestFinder().find(module, globs=names)
    ]
    tests = [test for test in found if test.examples]

    assert len(tests) >= 5
    assert [doctest.DocTestRunner().run(test).failed for test in tests] == [0] * len(tests)


def colour_detector(path: Path, side: int = 64) -> None:
    """Write a detector of three classes to an IR: for each colour, the box around all that is of it."""
    import openvino
    from openvino import opset13 as op

    image = op.parameter([1, 3, side, side], np.float32)
    places = np.arange(side, dtype=np.float32)[None]
    rows, labels = [], []
    for label, colour in enumerate(COLOURS_BGR.values()):
        difference = op.abs(op.subtract(image, np.float32(colour).reshape(1, 3, 1, 1)))
        is_near = op.less(op.reduce_sum(difference, np.int64([1])), np.float32(90))
        mask = op.convert(is_near, "f32")
        corners: dict[str, Any] = {}
        for axis, name in ((1, "x"), (2, "y")):  # over rows, columns are left, and the other way round
            has_some = op.greater(op.reduce_max(mask, np.int64([axis])), np.float32(0))
            inside = op.select(has_some, places, np.full_like(places, side))
            ends = op.select(has_some, places + 1, np.zeros_like(places))
            corners[f"{name}1"] = op.reduce_min(inside, np.int64([1]), keep_dims=True)
            corners[f"{name}2"] = op.reduce_max(ends, np.int64([1]), keep_dims=True)
        is_there = op.unsqueeze(op.reduce_max(mask, np.int64([1, 2])), np.int64(1))
        score = op.multiply(is_there, np.float32(0.9))
        row = op.concat([*(corners[name] for name in ("x1", "y1", "x2", "y2")), score], 1)
        rows.append(op.unsqueeze(row, np.int64(1)))
        labels.append(op.subtract(op.multiply(is_there, np.float32(label + 1)), np.float32(1)))  # -1 if it is not
    outputs = [op.result(op.concat(rows, 1)), op.result(op.convert(op.concat(labels, 1), "i64"))]
    model = openvino.Model(outputs, [image], "colours")
    for output, name in zip(model.outputs, ("boxes", "labels"), strict=True):
        output.tensor.set_names({name})
    path.parent.mkdir(exist_ok=True)
    openvino.save_model(model, path, compress_to_fp16=False)


def draw_video(path: Path) -> None:
    """Green goes down, blue comes later and goes up, red is in the upper half for a while."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (320, 240))
    for time in range(60):
        frame = np.full((240, 320, 3), 128, np.uint8)
        squares = {"green": (40, 10 + 3 * time)}
        squares |= {"blue": (140, 200 - 3 * time)} if time >= 10 else {}
        squares |= {"red": (240, 20 + time)} if 15 <= time < 40 else {}
        for name, (x, y) in squares.items():
            cv2.rectangle(frame, (x, y), (x + 40, y + 40), COLOURS_BGR[name], cv2.FILLED)
        writer.write(frame)
    writer.release()


def test_objects_of_a_video_are_tracked_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackers")  # not among the libraries for development: it needs another build of OpenCV
    colour_detector(tmp_path / "export/model.xml")
    draw_video(tmp_path / "video.mp4")
    monkeypatch.chdir(tmp_path)
    (program,) = blocks("tracking.md")
    assert 'load("export/model.xml")' in program  # which does not say what its classes are

    printed = run(program.replace("model.xml", f'model.xml", classes={list(COLOURS_BGR)}, device="cpu'), {})

    assert printed == "3 objects; across the middle: 1 one way, 1 the other\n"
    capture = cv2.VideoCapture(str(tmp_path / "tracked.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 60
