"""What a run says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from multibox.errors import OptionError
from multibox.runs.next_command import next_command, next_step_of
from multibox.runs.run import Run
from tests.unit.runs.conftest import make_run


def test_its_history_is_the_lines_that_are_whole(tmp_path):
    folder = make_run(tmp_path / "cats")
    (folder / "metrics.jsonl").write_text('{"epoch": 1, "step": 50, "ap": 0.5}\n{"epoch": 2, "st')
    assert Run(folder).history == [{"epoch": 1, "step": 50, "ap": 0.5}]


def test_it_is_named_by_text_as_well(tmp_path):
    assert Run(str(tmp_path)) == Run(tmp_path)  # type: ignore[arg-type]


def test_without_weights_there_is_nothing_to_take(tmp_path):
    with pytest.raises(OptionError, match="has saved no weights yet"):
        _ = Run(tmp_path).weights


def test_files_that_lie_in_it_are_found_when_it_has_moved(tmp_path):
    folder = make_run(tmp_path / "cats")
    (folder / "data").mkdir()
    (folder / "data/annotations_val.json").write_text("{}")
    recorded = {"annotation_files": ["/gone/runs/cats/data/annotations_val.json"], "data_roots": ["/photos"]}
    assert Run(folder).places(recorded) == ([folder / "data/annotations_val.json"], ["/photos"])


def test_the_next_command_leaves_out_the_run_that_is_found_anyway(at_work):
    make_run(Path("runs/old"), saved_at=1000)
    make_run(Path("runs/new"), saved_at=2000)
    assert next_command("eval", Run(Path("runs/new"))) == "multibox eval"
    assert next_command("eval", Run(Path("runs/old"))) == "multibox eval runs/old"
    assert next_command("export", Run(Path("runs/new")), named=Path("runs/new/compressed")) == (
        "multibox export runs/new/compressed"
    )


def test_the_next_command_can_be_pasted_where_names_have_blanks(at_work):
    facts = {"val_data": {"data_roots": [str(at_work / "my photos")]}}
    make_run(Path("runs/my photos"), saved_at=1000, facts=facts)
    make_run(Path("runs/other"), saved_at=2000)
    words, command = next_step_of(Run(Path("runs/my photos")), "train")
    assert words == "Next, look at what it finds, here in its own images:"
    assert command == "multibox predict 'my photos' --model 'runs/my photos'"
