from __future__ import annotations

import json
import os

import pytest

from multibox.errors import OptionError
from multibox.report.work_dir import gather
from tests.report_case import work_dir

ROW = {
    "file": "model.xml",
    "device": "CPU",
    "computes_in": "float32",
    "network": {"p50_ms": 1.5, "throughput_ratio": {"median": 1}},
    "whole_way": {"p50_ms": 2, "p95_ms": 3, "images_per_second": 400},
}
BENCH = {"rows": [ROW], "machine": {}, "settings": {"images_px": [640, 480]}}
EXPORT = {"checkpoint": "best.pth", "rows": [{"form": {"name": "a", "file": "a", "precision": "FP32"}}]}
RUNG = {"rung": "ptq", "num_images": 10, "minutes": 1.5, "measured": {"drop": {"value": 1, "low": 0.5, "high": 2}}}
COMPRESSION = {"rungs": [RUNG], "chosen": "ptq"}


def put(content, place, value):
    """A copy of plain data with another value at a place."""
    if not place:
        return value
    copied = dict(content) if isinstance(content, dict) else list(content)
    copied[place[0]] = put(copied[place[0]], place[1:], value)
    return copied


@pytest.mark.parametrize(
    ("name", "content", "place", "value"),
    [
        ("run.json", {"train_data": {}}, ["train_data"], 5),
        ("run.json", {"train_data": {}}, ["train_data"], {"objects_per_class": [1]}),
        ("run.json", {"train_data": {}}, ["train_data"], {"objects_per_class": {"a": "x"}}),
        ("run.json", {"train_data": {}, "val_data": {}}, ["val_data"], 5),
        ("run.json", {"train_data": {}, "libraries": {}}, ["libraries"], 5),
        ("export.json", EXPORT, ["rows"], 5),
        ("export.json", EXPORT, ["rows", 0], {}),
        ("export.json", EXPORT, ["rows", 0, "form", "name"], None),
        ("compress.json", COMPRESSION, ["rungs"], 5),
        ("compress.json", COMPRESSION, ["rungs", 0], {}),
        ("compress.json", COMPRESSION, ["rungs", 0, "measured", "drop", "low"], "low"),
        ("bench.json", BENCH, ["rows"], []),
        ("bench.json", BENCH, ["rows", 0, "whole_way", "p50_ms"], -1),
        ("bench.json", BENCH, ["settings"], {}),
        ("bench.json", BENCH, ["machine"], 5),
    ],
)
def test_records_that_lie_are_left_out_and_told(tmp_path, name, content, place, value):
    (tmp_path / name).write_text(json.dumps(content))
    assert (gather(tmp_path).is_empty, gather(tmp_path).problems) == (False, ())
    (tmp_path / name).write_text(json.dumps(put(content, place, value)))
    work = gather(tmp_path)
    assert work.is_empty
    assert [line.startswith(f"{tmp_path / name}: left out, because it is damaged: ") for line in work.problems] == [
        True
    ]


@pytest.mark.parametrize(
    "line",
    [
        "5", "null", "[]", "{}", "NaN", '"x"', "{", "[" * 100_000, '{"epoch": "1"}', '{"epoch": 1e99}', '{"epoch": -1}',
        '{"epoch": 1, "loss": NaN}', '{"epoch": 1, "loss": 1e99}', '{"epoch": 1, "ap": []}', '{"epoch": 1, "ap": 2}',
    ],
    ids=lambda line: line[:20],
)  # fmt: skip
def test_damaged_lines_of_the_log_are_told_and_left_out(tmp_path, line):
    (tmp_path / "run.json").write_text('{"train_data": {}}')
    (tmp_path / "metrics.jsonl").write_text(f'{{"epoch": 1, "loss": 0.5}}\n{line}\n{{"epoch": 2, "loss": 0.25}}\n')
    work = gather(tmp_path)
    assert [epoch["epoch"] for epoch in work.run.epochs] == [1, 2]
    assert work.problems == (f"{tmp_path / 'metrics.jsonl'}: a line of it is damaged and left out.",)


def test_files_are_known_by_what_they_say(tmp_path):
    work_dir(tmp_path / "w", ("a", "b"))
    deep = tmp_path / "w/any name/of folder"
    deep.mkdir(parents=True)
    (deep / "export.json").write_text(json.dumps({"checkpoint": "best.pth", "rows": []}))
    (deep / "c.json").write_text(json.dumps({"rungs": []}))
    (deep / "speed.json").write_text(json.dumps(BENCH))
    (deep / "annotations.json").write_text(json.dumps({"images": [], "annotations": []}))
    work = gather(tmp_path / "w")
    assert [len(kind) for kind in (work.runs, work.exports, work.compressions, work.benches)] == [1, 1, 1, 1]
    assert [one.path.name for one in work.evaluations] == ["evaluation.json"]
    assert (work.problems, work.is_empty) == ((), False)
    assert len(work.run.epochs) == 3


def test_the_evaluation_of_the_weights_that_are_there_is_the_one(tmp_path):
    work_dir(tmp_path, ("a",))
    assert gather(tmp_path).evaluation is not None
    (tmp_path / "outputs/best.pth").write_bytes(b"trained on")
    assert gather(tmp_path).evaluation is None
    assert len(gather(tmp_path).evaluations) == 1


def test_the_newest_run_that_is_not_in_8_bits_is_the_one(tmp_path):
    for name, age, facts in (("old", 300, {}), ("new", 200, {}), ("qat", 100, {"nncf_enable_compression": True})):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "run.json"
        path.write_text(json.dumps({"train_data": {}, **facts}))
        os.utime(path, (1e9 - age, 1e9 - age))
    work = gather(tmp_path)
    assert work.run.folder.name == "new"
    assert [run.folder.name for run in work.runs] == ["qat", "new", "old"]


def test_damaged_files_are_told_and_left_out(tmp_path):
    work_dir(tmp_path, ("a",))
    (tmp_path / "outputs/evaluation.json").write_text("{")
    with (tmp_path / "outputs/metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, "lo')
    (tmp_path / "export.json").write_bytes(b"\xff\xfe")
    work = gather(tmp_path)
    assert len(work.problems) == 3
    assert (len(work.evaluations), len(work.run.epochs)) == (0, 3)


def test_an_empty_folder_and_none(tmp_path):
    assert gather(tmp_path).is_empty
    with pytest.raises(OptionError, match="no such folder"):
        gather(tmp_path / "gone")
