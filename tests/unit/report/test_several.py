from __future__ import annotations

import dataclasses

import pytest

from multibox.evaluate.intervals import Interval
from multibox.report import several
from multibox.report.several import difference_verdict
from multibox.report.work_dir import gather
from tests.report_case import work_dir


@pytest.fixture(scope="module")
def works(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for name in ("a run", "same", "other"):
        work_dir(root / name / "w", ("x", "<b>"), seed=int(name == "other"))
    return {name: gather(root / name / "w") for name in ("a run", "same", "other")}


def comparison_page(judged):
    runs = several.contenders(judged)
    return several.comparison_page(runs, several.compare_with_first(runs))


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (Interval(2.1, 0.4, 3.9), "B is better than A by 2.1 AP points (probably +0.4 to +3.9)."),
        (Interval(-2.1, -3.9, -0.4), "B is worse than A by 2.1 AP points (probably -3.9 to -0.4)."),
        (Interval(0, 0, 0), "B and A find the same"),
        (Interval(1.0, -0.5, 2.0), "Cannot tell whether B is better than A: the difference is +1.0 AP points"),
    ],
)
def test_the_answer_is_only_given_if_the_draws_agree(difference, words):
    assert difference_verdict("A", "B", difference).startswith(words)


def test_runs_on_the_same_images_are_compared(works):
    page = comparison_page([(works[name], works[name].evaluation) for name in ("a run", "same")])
    assert "a run/w or same/w?" in page
    assert "same/w and a run/w find the same" in page
    assert "<b></th>" not in page and "&lt;b&gt;" in page


def test_better_detections_are_called_better(works):
    one = works["a run"].evaluation
    perfect = tuple(
        dataclasses.replace(
            found,
            boxes=record.boxes[~record.is_crowd],
            scores=found.scores[:1].repeat((~record.is_crowd).sum()),
            labels=record.labels[~record.is_crowd],
        )
        for found, record in zip(one.detections, one.data.records, strict=True)
    )
    page = comparison_page([(works["a run"], one), (works["same"], dataclasses.replace(one, detections=perfect))])
    assert "same/w is better than a run/w by" in page


def test_what_was_measured_on_other_images_is_not_compared(works):
    other = works["other"].evaluation
    other = dataclasses.replace(other, data=dataclasses.replace(other.data, fingerprint="others"))
    page = comparison_page([(works["a run"], works["a run"].evaluation), (works["other"], other)])
    assert "cannot be compared: they were measured on other images" in page
    page = comparison_page([(works["a run"], works["a run"].evaluation), (works["other"], None)])
    assert "other/w has not been measured" in page
