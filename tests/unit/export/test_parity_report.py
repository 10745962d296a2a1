from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from multibox.errors import OptionError
from multibox.export import parity_report
from multibox.export.agreement import Comparison, Tolerance
from multibox.export.parity import ComparedForm, Parity, ParityRow

CHECKPOINT = ParityRow(
    ComparedForm("checkpoint", "latest.pth", "float32", 12_345_678), 0.72351, 0.9412, None, 40.04, None, None
)


def row(
    name: str = "alternative SSD",
    *,
    file: str = "alt_ssd_export/model.xml",
    precision: str = "float32",
    passed: bool | None = True,
    reason: str | None = None,
    num_reference: int = 2482,
    tolerance: Tolerance | None = None,
) -> ParityRow:
    comparison = Comparison(
        num_reference=num_reference,
        num_found=num_reference,
        num_matched=num_reference,
        num_undecided=3,
        num_unexplained=0,
        largest_box_px=0.000137,
        largest_score=2.3e-6,
        num_differing_images=0,
        worst_image=None,
        worst_difference=None,
    )
    form = ComparedForm(
        name, file, precision, 6_200_000, "checkpoint", tolerance or Tolerance(), is_judged=passed is not None
    )
    return ParityRow(form, 0.72352, 0.9412, comparison, 12.34, passed, reason)


def printed(parity: Parity, width: int = 100) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(parity_report.parity_table(parity, width=width))
    return stream.getvalue()


def markdown(*rows: ParityRow) -> str:
    parity = Parity(rows, num_images=16)
    return parity_report.to_markdown(parity, checkpoint="latest.pth", images="the 16 images of val.json")


def test_table_shows_every_figure_on_one_line_of_100_columns():
    lines = printed(Parity((CHECKPOINT, row()), 16)).splitlines()
    assert all(len(line) <= 100 for line in lines)
    cells = "alt_ssd_export/model.xml f32 72.35 94.12 2482/2482 3 0.0001 2.3e-06 6.2 12.3 passed"
    assert cells in [" ".join(line.split()) for line in lines]


def test_narrow_terminals_get_fewer_columns_and_every_row():
    long = "alt_ssd_export/model.xml"
    text = printed(Parity((CHECKPOINT, row(file="model.onnx"), row(file=long)), 16), width=80)
    assert f" {long} " in text  # no name is cut
    assert "model.onnx f32 72.35 2482/2482 0.0001 2.3e-06 12.3 passed" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_table_has_dashes_for_what_does_not_exist():
    unmeasured = ParityRow(
        ComparedForm("checkpoint", "latest.pth", "float32", None), None, None, None, None, None, None
    )
    assert "checkpoint f32 - - - - - - - - -" in " ".join(printed(Parity((unmeasured,), 6)).split())


def test_name_with_square_brackets_is_shown_as_it_is():
    assert "[bold].xml" in printed(Parity((row(file="[bold].xml"),), 16))


def test_long_precision_is_cut_to_its_first_word_on_the_console_only():
    shown = row("OpenVINO", precision="int8 (mostly)", passed=None)
    assert "mostly" not in printed(Parity((shown,), 16))
    assert "| int8 (mostly) |" in markdown(shown)


def test_markdown_of_a_passed_export_says_what_was_compared_on_what_by_what():
    text = markdown(CHECKPOINT, row())
    assert text.startswith("# Export of latest.pth: PASSED\n")
    assert "the 16 images of val.json" in text
    assert "labels equal, boxes within 0.1 px, scores within 0.001, AP within 0.1 points." in text
    assert "numpy " in text.splitlines()[-1]
    assert "cores" in text.splitlines()[-1]


def test_markdown_of_a_rejected_export_gives_the_reason():
    text = markdown(CHECKPOINT, row(passed=False, reason="AP is 70.00, that of checkpoint 72.35."))
    assert text.startswith("# Export of latest.pth: REJECTED\n")
    assert "\nalternative SSD: AP is 70.00, that of checkpoint 72.35.\n" in text
    assert "| FAILED |" in text


def test_markdown_rows_have_as_many_cells_as_its_head():
    lines = [line for line in markdown(CHECKPOINT, row()).splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {13}


def test_markdown_names_the_forms_that_have_a_tolerance_of_their_own():
    text = markdown(CHECKPOINT, row("ONNX"), row("INT8", tolerance=Tolerance(ap_points=0.2, only_ap=True)))
    assert "- Tolerance of ONNX: labels equal" in text
    assert "- Tolerance of INT8: AP at most 0.2 points lower, or further if the 95 % interval" in text


def test_markdown_says_when_there_was_nothing_to_compare():
    assert "nothing to compare" in markdown(CHECKPOINT, row(num_reference=0))
    assert "nothing to compare" not in markdown(CHECKPOINT, row())


def test_files_are_written_side_by_side(tmp_path):
    parity = Parity((CHECKPOINT, row(passed=False, reason="why")), 16)
    parity_report.write_report(tmp_path, parity, checkpoint="latest.pth", images="the 16 images of val.json")
    content = json.loads((tmp_path / "export.json").read_text(encoding="utf-8"))
    assert content["passed"] is False
    assert content["images"] == "the 16 images of val.json"
    assert content["rows"][0]["ap"] == 0.72351
    assert content["rows"][1]["comparison"]["largest_box_px"] == 0.000137
    assert content["made_by"]["libraries"]["numpy"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export.json", "export.md"]


def test_folder_that_cannot_be_written_to_is_one_line():
    with pytest.raises(OptionError, match=r"export\.json: cannot write the file"):
        parity_report.write_report(Path(__file__), Parity((), 0), checkpoint="latest.pth", images="no image")
