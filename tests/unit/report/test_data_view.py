from __future__ import annotations

import json

import numpy as np

from multibox.report.data_view import MAX_SHEET_BYTES, _sheet_address, centres, findings_of_file, sides_per_class
from multibox.report.work_dir import gather
from tests.report_case import dataset, record


def test_centres_are_counted_by_part_of_the_image():
    # 12 rows and 16 columns of an image of 200 x 200: a centre at (50, 150) is in column 4, row 9.
    counts = centres(dataset(record([[40, 140, 60, 160], [40, 140, 60, 160], [199, 199, 200, 200]])))
    assert counts.shape == (12, 16)
    assert {(row, column): int(counts[row, column]) for row, column in np.argwhere(counts)} == {(9, 4): 2, (11, 15): 1}


def test_sizes_are_those_of_the_most_frequent_classes_without_crowds():
    data = dataset(
        record([[0, 0, 20, 20], [0, 0, 40, 40], [0, 0, 80, 80]], [2, 0, 2]),
        record([[0, 0, 100, 100], [0, 0, 160, 160]], [1, 1], crowds=[True, True]),
        classes=("one", "crowd", "two"),
    )
    # The network sees 100 pixels of 200.
    sides = {name: values.tolist() for name, values in sides_per_class(data, input_size=100, limit=2).items()}
    assert sides == {"one": [20.0], "two": [10.0, 40.0]}
    assert list(sides_per_class(data, input_size=100, limit=1)) == ["two"]


def test_the_doctors_file_is_known_by_what_it_says(tmp_path):
    found = {"severity": "warning", "kind": "x", "split": "val", "count": 2, "text": "Two are odd", "examples": ["a"]}
    content = {"contents": {}, "findings": [{**found, "remedy": "Look."}], "exit_code": 1}
    (tmp_path / "any name.json").write_text(json.dumps(content))
    work = gather(tmp_path)
    assert work.is_empty  # a check of data alone is no detector
    (finding,) = findings_of_file(work.examinations[0])
    assert (finding.severity, finding.split, finding.text) == ("warning", "val", "Two are odd")
    assert (finding.examples, finding.remedy) == (("a",), "Look.")
    (tmp_path / "any name.json").write_text(json.dumps({**content, "findings": [{"severity": "loud"}]}))
    assert "damaged" in gather(tmp_path).problems[0]


def test_a_sheet_that_compresses_badly_stays_within_its_budget():
    noise = np.random.default_rng(0).integers(0, 256, (934, 1600, 3), dtype=np.uint8)
    assert len(_sheet_address(noise)) < 2 * MAX_SHEET_BYTES
