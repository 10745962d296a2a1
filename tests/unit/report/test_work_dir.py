from __future__ import annotations

import json
import os

import pytest

from multibox.errors import OptionError
from multibox.report.work_dir import gather
from tests.report_case import work_dir


def test_files_are_known_by_what_they_say(tmp_path):
    work_dir(tmp_path / "w", ("a", "b"))
    deep = tmp_path / "w/any name/of folder"
    deep.mkdir(parents=True)
    (deep / "export.json").write_text(json.dumps({"checkpoint": "best.pth", "rows": []}))
    (deep / "c.json").write_text(json.dumps({"rungs": []}))
    (deep / "speed.json").write_text(json.dumps({"rows": [], "machine": {}, "settings": {}}))
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
