"""What an output may replace."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from multibox import overwriting
from multibox.errors import OptionError
from multibox.overwriting import Output, check_outputs, marked


def check(path: Path, is_ours: overwriting.IsOurs, *inputs: Path) -> list[str]:
    """What is said where this output passes."""
    said: list[str] = []
    check_outputs([Output("--to", path, is_ours)], inputs, say=said.append)
    return said


def always(_: Path) -> bool:
    return True


def test_nothing_that_is_read_is_written_over(tmp_path: Path) -> None:
    source, link, free = tmp_path / "a.jpg", tmp_path / "link.jpg", tmp_path / "free.jpg"
    source.touch()
    os.link(source, link)
    assert check(free, always, source) == []
    for path in (source, link, tmp_path / "." / "a.jpg"):
        with pytest.raises(OptionError, match=r"--to: this would write over .*, which is read"):
            check(path, always, tmp_path / "gone.jpg", source)


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    outputs = [Output("--json", tmp_path / "a", always), Output("--csv", tmp_path / "a", always)]
    with pytest.raises(OptionError, match=r"--csv .*: --json writes to this file as well"):
        check_outputs(outputs, [], say=print)


def test_what_is_replaced_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    assert check(tmp_path / "a", always) == [f"--to: {tmp_path / 'a'} of an earlier run will be replaced."]
    assert check(tmp_path / "b", always) == []


def test_many_replaced_files_are_one_line(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(4)]
    for path in paths:
        path.write_text("old")
    said: list[str] = []
    check_outputs([Output("--to", path, always) for path in paths], [], say=said.append)
    assert said == [f"--to: 4 files of an earlier run will be replaced in {tmp_path}."]


def test_an_empty_file_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    check(tmp_path / "a", overwriting.is_nobodys)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    for name in ("pipe", "folder", "gone"):
        with pytest.raises(OptionError, match="Name another file"):
            check(tmp_path / name, always)


OURS = {
    "is_metrics_yaml": b"files:\n- name: latest.pth\nmetrics:\n- key: size\n",
    "is_metrics_json": b'{\n  "files": [],\n  "metrics": {}\n}\n',
    "is_evaluation": b'{"format":"multibox evaluation 1","model":{}}',
    "is_coco_results": b'[{"image_id":0,"category_id":1}]',
    "is_coco_images": b'{"images":[\n{"id":1}\n],"annotations":[],"categories":[]}\n',
    "is_predictions": b'{"model":"a.xml","classes":[],"sources":[\n],"interrupted":false}\n',
    "is_prediction_lines": b'{"source":"a.jpg","kind":"image"}\n',
    "is_prediction_table": b"source,frame,time_s,width,height,class,label,score,x1,y1,x2,y2\n",
    "is_examination": b'{\n  "contents": {}\n}\n',
    "is_benchmark": b'{\n  "date": "2026-01-01",\n  "machine": {}\n}\n',
    "is_page": b'<!doctype html>\n<meta name="generator" content="multibox 0.1.0">\n',
    "is_drawing": marked(b"\xff\xd8\xff\xe0\x00\x04ab\xff\xd9"),
    "is_export_json": b'{\n  "checkpoint": "best.pth",\n  "rows": []\n}\n',
    "is_export_page": b"# Export of best.pth: PASSED\n",
    "is_compress_json": b'{\n  "source": "best.pth",\n  "rungs": []\n}\n',
    "is_openvino_xml": b"<net>\n<rt_info>\n<multibox>\n</multibox>\n</rt_info>\n</net>\n",
    "is_onnx": b"\x08\x0a\x12\x08multibox\x1a\x050.1.0",
}

OF_USERS = {
    "COCO annotations": b'{"images":[{"id":1}],"annotations":[{"id":1}],"categories":[{"id":1}]}',
    "pretty COCO annotations": b'{\n  "info": {},\n  "images": []\n}\n',
    "template.yaml": b"name: tiny\nmetrics:\n- key: size\nhyper_parameters:\n  basic: {}\n",
    "data.yaml": b"train: images/train\nnames: [a]\n",
    "run.json": b'{\n  "multibox_version": "0.1.0",\n  "train_data": {}\n}\n',
    "a photograph": b"\xff\xd8\xff\xe1\x00\x10Exif\x00\x00",
    "a model of others": b"<net>\n<rt_info>\n<MO_version/>\n</rt_info>\n</net>\n",
    "detections of another program": b'[{"image_id": 0, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}]',
    "a checkpoint": b"PK\x03\x04archive/data.pkl",
    "notes": b"bought milk\n",
    "a table": b"name,score\nme,1\n",
    "a page": b"<!doctype html>\n<title>mine</title>\n",
}


@pytest.mark.parametrize("kind", OURS)
def test_each_kind_knows_its_own_and_nothing_of_the_users(kind: str, tmp_path: Path) -> None:
    is_ours = getattr(overwriting, kind)
    path = tmp_path / "file"
    path.write_bytes(OURS[kind])
    assert is_ours(path)
    for name, content in (OF_USERS | {name: text for name, text in OURS.items() if name != kind}).items():
        path.write_bytes(content)
        assert not is_ours(path), name
        with pytest.raises(OptionError, match="is there, and not from this command; it is not replaced"):
            check(path, is_ours)


@pytest.mark.parametrize("ending", [".jpg", ".png", ".bmp", ".webp", ".tiff", ".ppm"])
def test_a_marked_image_is_known_and_looks_as_before(ending: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    _, encoded = cv2.imencode(ending, pixels)
    path = tmp_path / f"a{ending}"
    path.write_bytes(encoded.tobytes())
    assert not overwriting.is_drawing(path)
    path.write_bytes(marked(encoded.tobytes()))
    assert overwriting.is_drawing(path)
    read, plain = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for data in (path.read_bytes(), encoded)
    )
    assert (read == plain).all()
