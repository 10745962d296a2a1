"""What an exported file says of itself is believed only where it makes sense."""

from __future__ import annotations

import pytest

from multibox.errors import CheckpointError
from multibox.runtime.contract import ExportInfo, Origin, from_entries, to_entries

INFO = ExportInfo(
    form="raw",
    classes=("a", "b"),
    input_size=256,
    channel_order="BGR",
    input_maximum=255,
    batch=1,
    precision="FP32",
    suggested_threshold=0.5,
    min_score=0.01,
    iou_threshold=0.45,
    max_per_class=100,
    max_detections=100,
    anchors_px=(((1.0, 2.0),), ((3.0, 4.0), (5.0, 6.0))),
    strides=(16, 32),
    box_variances=(0.1, 0.2),
    origin=Origin(checkpoint="best.pth", sha256="0"),
    versions={"torch": None},
    template={"name": "x"},
)


def test_what_is_written_is_read():
    assert from_entries(to_entries(INFO), source="model.xml") == INFO


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("classes", value) for value in ("[]", "x", "[1]", '[""]', "null", "[" * 100_000, '["a\\ud800"]')],
        *[("input_size", value) for value in ("0", "-1", "x", "1e9", "100000")],
        *[("anchors_px", value) for value in ("x", "[]", "[[[0,0]]]", "[[[1,2]],[[1,-2]]]", "[[[1,2]],[[1,1e30]]]")],
        *[("form", value) for value in ("", "x")],
        *[("threshold", value) for value in ("x", "NaN", "-5", "1e999", "null", "2")],
        *[("score_threshold", value) for value in ("x", "-0.1")],
        *[("batch", value) for value in ("-1", "x")],
        *[("strides", value) for value in ("[]", "[0,0]", "[16,16,16]", "[16,100000]")],
        *[("max_detections", value) for value in ("-1", "0", "9" * 30)],
        *[("box_variances", value) for value in ("[0,1]", "[1]")],
        *[("anchor_offset", value) for value in ("-1", "2", "NaN", "x", "null")],
        *[("origin", value) for value in ("{}", "5")],
        ("template", "[]"),
        ("versions", "x"),
        ("input_maximum", "7"),
        ("channel_order", "XYZ"),
    ],
    ids=lambda value: value[:20],
)
def test_anything_else_is_refused_in_one_line(key, value):
    with pytest.raises(CheckpointError, match=r"^model\.xml: its description of itself is damaged: ") as caught:
        from_entries({**to_entries(INFO), key: value}, source="model.xml")
    assert str(caught.value).isprintable()


def test_anchors_of_older_files_are_in_the_middle_of_their_cells():
    entries = to_entries(INFO)
    del entries["anchor_offset"]
    assert from_entries(entries, source="model.xml").anchor_offset == 0.5
