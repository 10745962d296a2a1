"""Names from data are shown, never obeyed: no letter that a terminal acts on, or that changes the order of others, gets
through to a console, a table or a page.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console, RenderableType

from multibox import cli
from multibox.evaluate import speed_table
from multibox.evaluate.average_precision import ClassMetrics
from multibox.evaluate.output_files import metrics_table
from multibox.evaluate.speed_table import ProcessorTime, SpeedResult, SpeedRow, Spread, Timing
from multibox.export import parity_report
from multibox.export.parity import Parity
from multibox.wording import UNSEEN
from tests.unit.evaluate.test_output_files import some_metrics
from tests.unit.export.test_parity_report import markdown, row

PACKAGE = Path(cli.__file__).parent

CLASS = "cat\x1b]0;title\x07\x1b[2J\u202egod\x7f[red]"
FILE = "a\x1b[31mb\u2066c.png"


def unseen(text: str) -> set[str]:
    return set(UNSEEN.findall(text)) - {"\n"}


def printed(table: RenderableType) -> str:
    stream = io.StringIO()
    Console(file=stream, width=120).print(table)
    return stream.getvalue()


def test_tables_show_them() -> None:
    metrics = some_metrics(per_class={CLASS: ClassMetrics(ap=0.5, ap50=0.5, recall=0.4, num_objects=7)})
    spread = Spread(1.0, 1.0, 1.0)
    timing = Timing(1.0, 1.0, 1.0, spread, spread)
    speed = SpeedRow(FILE, 1.0, "CPU", "f32", "f32", 256, 0, timing, timing, spread, ProcessorTime(1.0, 1.0, 1.0, 1.0))
    tables = [
        printed(speed_table.speed_tables(SpeedResult((speed,), 3, 1.0, 1, (8, 8), 1))),
        printed(speed_table.speed_summary(SpeedResult((speed,), 3, 1.0, 1, (8, 8), 1))),
        printed(metrics_table(metrics)),
        printed(parity_report.parity_table(Parity((row(CLASS, file=FILE),), 1), width=100)),
        markdown(row(CLASS, file=FILE)),
    ]

    assert [unseen(table) for table in tables] == [set()] * len(tables)
    assert all(r"\x1b" in table for table in tables)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set with a missing image, a box drawn twice and one over the border, all of such names."""
    for number in range(6):
        _, data = cv2.imencode(".png", np.full((40, 60, 3), 40 * number, np.uint8))
        (tmp_path / f"{number}{FILE}").write_bytes(data.tobytes())
    images = [{"id": i, "file_name": f"{i}{FILE}", "width": 60, "height": 40} for i in range(7)]
    boxes = [[5, 5, 20, 20], [5, 5, 20, 20], [50, 5, 20, 20]]
    annotations = [
        {"id": 10 * image + i, "image_id": image, "category_id": 1, "bbox": box, "iscrowd": 0}
        for image in range(6)
        for i, box in enumerate(boxes)
    ]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": CLASS}]}
    (tmp_path / "train.json").write_text(json.dumps(content))
    return tmp_path


def test_doctor_and_convert_show_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = [
        cli.main(["doctor", str(folder), "--no-timing"]),
        cli.main(["convert", str(folder), "--save-to", str(folder / "out"), "--format", "coco"]),
        cli.main(["convert", str(folder / CLASS), "--save-to", str(folder / "out")]),
        cli.main(["convert", "--" + CLASS]),
    ]

    output = capsys.readouterr()
    assert codes == [2] * 4
    assert unseen(output.out) == unseen(output.err) == set()
    assert r"cat\x1b" in output.out and r"6a\u001b" in output.out and r"cat\x1b" in output.err


def test_no_module_has_a_way_of_its_own() -> None:
    sources = {file: file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py")}
    assert [file.name for file, text in sources.items() if "rich.markup" in text] == ["wording.py"]
    assert [file.name for file, text in sources.items() if "errors.print(" in text] == []  # but by `print_line`
