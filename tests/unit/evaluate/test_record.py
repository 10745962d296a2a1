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
