from __future__ import annotations

import html
import json

import pytest

from multibox.report.deployment import sections, tiles
from multibox.report.page import ReportSubject, report_page
from multibox.report.shown_paths import ShownPaths
from multibox.report.work_dir import gather
from tests.report_case import deployed_files


@pytest.fixture
def work(tmp_path):
    deployed_files(tmp_path)
    return gather(tmp_path)


def test_a_loss_by_8_bits_is_below_0_in_the_tile_and_in_the_table(work):
    # compress.json says that 0.4 points were lost, 0.1 to 0.9.
    tile = next(one for one in tiles(work, None) if one["name"] == "INT8")
    assert (tile["value"], tile["note"]) == ("-0.40", "AP points against FP32; probably -0.90 to -0.10")
    compression = sections(work, ShownPaths(work.path))["compression"]
    assert compression["rows"][0]["cells"][:3] == ["29.60", "-0.40", "-0.90 to -0.10"]
    assert compression["verdict"] == (
        "Passed: AP may fall by 0.5 points at most (--max-drop), and with ptq it changes by -0.40 "
        "(probably -0.90 to -0.10)."
    )


def test_the_tile_says_if_8_bits_cost_more_than_was_allowed(work):
    path = work.path / "compress.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_drop": 0.25}))
    tile = next(one for one in tiles(gather(work.path), None) if one["name"] == "INT8")
    assert tile["note"].endswith("; a loss of more than the 0.25 allowed")


def test_each_gate_has_its_tolerance_beside_its_table(work):
    (export,) = sections(work, ShownPaths(work.path))["exports"]
    assert export["gates"][0] == (
        "A file passes if every side of every box is within 0.1 px, every score within 0.001, and AP is within 0.1 "
        "points of its reference."
    )
    assert export["gates"][1].startswith("INT8 passes if AP is within 0.2 points")
    assert len(export["gates"]) == 2  # the checkpoint's row is not judged


def test_no_path_of_this_machine_is_on_the_page_unless_it_is_wanted(work, tmp_path):
    (tmp_path / "run.json").write_text(
        json.dumps({"train_data": {}, "command": f"multibox train --train-ann-files {tmp_path}/a.json,/srv/b.json"})
    )
    (tmp_path / "compress.json").write_text("{")  # a problem, whose line names the file
    again = gather(tmp_path)
    page = report_page(ReportSubject(again, None, None, ShownPaths(again.path)))
    assert str(tmp_path) not in page and "/srv" not in page
    assert "--train-ann-files a.json,b.json" in page and "compress.json: cannot be read" in page
    full = report_page(ReportSubject(again, None, None, ShownPaths(again.path, is_full=True)))
    assert html.escape(f"{tmp_path}/a.json,/srv/b.json") in full
