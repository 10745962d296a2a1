from __future__ import annotations

import pytest

from multibox.evaluate.record import RecordedEvaluation, RecordedModel
from multibox.report.figures import figures_of
from multibox.report.sentences import data_warnings, summary, training_sentence
from multibox.wording import listed
from tests.report_case import dataset, found, record


def figures_of_case(data, detections):
    model = RecordedModel(file="best.pth", sha256="0")
    return figures_of(RecordedEvaluation(data.records[0].path, model, data, tuple(detections), 100, {}))


@pytest.mark.parametrize(
    ("aps", "of_weights", "words"),
    [
        ([], None, "Without validation images"),
        ([0.1, 0.3, 0.2], 0.3, "AP 30.0, was after epoch 2"),
        ([0.1, 0.2, 0.3], None, "still rising"),
        ([0.3, 0.2, 0.2, 0.2], None, "came early"),
        ([0.1, 0.2], 0.5, "No epoch was better than the starting weights, AP 50.0"),
    ],
)
def test_the_course_of_a_training(aps, of_weights, words):
    validated = [{"epoch": epoch, "ap": ap} for epoch, ap in enumerate(aps, start=1)]
    assert words in training_sentence(validated, of_weights)


def test_the_summary_says_what_is_found_and_what_is_wrong():
    # Two of three objects of "a", none of "b"; one box of three is wrong.
    objects = record([[0, 0, 50, 50], [60, 0, 110, 50], [120, 0, 170, 50], [0, 100, 50, 150]], [0, 0, 0, 1])
    boxes = found([[0, 0, 50, 50], [60, 0, 110, 50], [120, 120, 170, 170]], [0.9, 0.8, 0.7])
    lines = summary(figures_of_case(dataset(objects, classes=("a", "b")), [boxes]))
    assert "On 1 image with 4 objects of a and b" in lines[0]
    assert lines[-1] == "The weakest class is b (AP50 0.0), the best a (66.3)."  # 67 of 101 recalls up to 2/3
    assert "it finds 2 of the 4 objects (50 %)" in lines[1]


def test_warnings_name_what_is_rare_and_what_is_not_there():
    facts = {"train_data": {"objects_per_class": {"many": 500, "rare": 30, "none": 0}}}
    data = dataset(record([[0, 0, 50, 50]], [0]), classes=("many", "rare", "none"))
    lines = data_warnings(figures_of_case(data, [found([], [])]), facts)
    assert [line.split(":")[0] for line in lines] == [
        "There is nothing to measure of rare and none",
        "Fewer than 20 objects to measure",
        "No object of none in the training data",
        "Rare in training",
    ]
    assert "rare (30), where the most frequent class has 500 objects. More images" in lines[3]
    unadvised = data_warnings(figures_of_case(data, [found([], [])]), facts, is_advised=False)
    assert unadvised[3].endswith("has 500 objects.")


def test_names_in_a_sentence():
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert listed([str(n) for n in range(8)]) == "0, 1, 2, 3, 4 and 3 more"
