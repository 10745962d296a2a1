from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from multibox.errors import DataError, OptionError
from multibox.evaluate import record as evaluation_record
from multibox.evaluate.average_precision import measure
from tests.report_case import dataset, found, random_case, record


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "run é" / "best.pth"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    return path


@pytest.mark.parametrize("seed", range(3))
def test_what_is_read_measures_like_what_was_written(seed, model):
    data, detections = random_case(seed)
    path = model.parent / evaluation_record.NAME
    evaluation_record.write_record(path, detections, data, model=model, input_size=96)
    again = evaluation_record.read_record(path)
    assert measure(again.detections, again.data) == measure(detections, data)
    assert (again.input_size, again.data.classes, again.data.fingerprint) == (96, data.classes, data.fingerprint)


def test_detections_come_back_to_the_last_bit(model):
    scores = [float(np.float32(1 / n)) for n in (2, 3, 7, 9)]
    boxes = [[1 / 3, 2 / 3, 100 / 7, 199.9]] * 4
    path = model.parent / evaluation_record.NAME
    evaluation_record.write_record(path, [found(boxes, scores)], dataset(record([])), model=model, input_size=96)
    again = evaluation_record.read_record(path).detections[0]
    assert again.scores.tolist() == scores
    assert np.abs(again.boxes - found(boxes, scores).boxes).max() < 1e-8


def test_the_model_is_named_by_its_place_below_the_record(model, tmp_path):
    evaluation_record.write_record(tmp_path / "e.json", [], dataset(), model=model, input_size=96)
    evaluation_record.write_record(model.parent / "deep/er/e.json", [], dataset(), model=model, input_size=96)
    assert evaluation_record.read_record(tmp_path / "e.json").model.file == "run é/best.pth"
    assert evaluation_record.read_record(model.parent / "deep/er/e.json").model.file == "best.pth"


def test_images_are_looked_for_where_they_were(model):
    path = model.parent / evaluation_record.NAME
    data = dataset(record([], path=Path("/data/set/a.jpg")))
    evaluation_record.write_record(path, [found([], [])], data, model=model, input_size=96)
    assert evaluation_record.read_record(path).data.records[0].path == Path("/data/set/a.jpg")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "no evaluation, or a damaged one"),
        ("[]", "no evaluation, or a damaged one"),
        (json.dumps({"format": "x"}), "no evaluation, or a damaged one"),
    ],
)
def test_something_else_is_refused_in_one_line(content, reason, tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text(content)
    with pytest.raises(DataError, match=reason):
        evaluation_record.read_record(path)


def test_a_record_of_another_version_is_refused(model):
    path = model.parent / evaluation_record.NAME
    evaluation_record.write_record(path, [], dataset(), model=model, input_size=96)
    path.write_text(path.read_text().replace(evaluation_record.FORMAT, "multibox evaluation 9"))
    with pytest.raises(DataError, match="it says multibox evaluation 9"):
        evaluation_record.read_record(path)


def test_a_model_that_is_gone_is_said(tmp_path):
    with pytest.raises(OptionError, match=r"gone\.pth"):
        evaluation_record.write_record(tmp_path / "e.json", [], dataset(), model=tmp_path / "gone.pth", input_size=96)
    assert list(tmp_path.iterdir()) == []


def changed_record(model, place, value):
    """The path of a record in which one value is another."""
    path = model.parent / evaluation_record.NAME
    data, detections = random_case(0)
    evaluation_record.write_record(path, detections, data, model=model, input_size=96)
    content = json.loads(path.read_text(encoding="utf-8"))
    part = content
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["images", 0, "detections"], [[0.1, 0.1, 0.5, 0.5, 0.9, 99]]),
        (["images", 0, "detections"], [[0.1, 0.1, 0.5, 0.5, 0.9, -1]]),
        (["images", 0, "detections"], [[0.1, 0.1, 0.5, 0.5, 5, 0]]),
        (["images", 0, "detections"], [[-1e30, 0.1, 1e30, 0.5, 0.5, 0]]),
        (["images", 0, "objects"], [[1, 1, 50, 50, 100, 99, False]]),
        (["images", 0, "objects"], [[1, 1, 50, 50, -1, 0, False]]),
        (["images", 0, "objects"], [[1, 1, 50, 1e300, 100, 0, False]]),
        (["images", 0, "width"], 0),
        (["images", 0, "height"], 10**18),
        (["images", 0, "source"], -9),
        (["images", 0, "source"], 99),
        (["classes"], []),
        (["classes"], ["a", "a", "a"]),
        (["input_size"], 0),
        (["data", "data_roots"], 5),
        (["data", "data_roots"], []),
        (["data", "fingerprint"], 5),
        (["made_by"], {"libraries": 5}),
    ],
)
def test_records_that_contradict_themselves_are_refused_in_one_line(model, place, value):
    path = changed_record(model, place, value)
    with pytest.raises(DataError) as caught:
        evaluation_record.read_record(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["/etc/a.jpg", "../a.jpg", "b/../../a.jpg", r"..\a.jpg", r"C:\a.jpg", r"\\host\a.jpg"])
def test_a_name_that_leads_elsewhere_names_no_image(model, name):
    path = changed_record(model, ["images", 0, "file_name"], name)
    records = evaluation_record.read_record(path).data.records
    assert records[0].path == Path()
    assert all(other.path.name == other.file_name for other in records[1:])
