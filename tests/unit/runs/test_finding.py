"""Which model is meant by a file, a folder, a name, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from multibox.errors import CheckpointError, OptionError
from multibox.runs.finding import default_run, find_model
from tests.unit.runs.conftest import make_run


def test_nothing_means_the_newest_run(at_work):
    make_run(Path("runs/first"), saved_at=1000)
    make_run(Path("runs/newest"), saved_at=3000)
    make_run(Path("runs/second"), saved_at=2000)
    found = find_model(None)
    assert found.path == Path("runs/newest/best.pth")
    assert found.account == "the best weights of the newest run in runs"


def test_nothing_means_the_run_that_one_stands_in_however_deep(at_work, monkeypatch):
    make_run(Path("runs/older"), saved_at=1000)
    make_run(Path("runs/newest"), saved_at=3000)
    place = Path("runs/older/export/raw")
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    found = find_model(None)
    assert found.path.resolve() == (at_work / "runs/older/best.pth").resolve()
    assert found.account == "the best weights of the run of this folder"


def test_nothing_means_the_outputs_of_the_work_directory(at_work):
    make_run(Path("outputs"))
    Path("template.yaml").write_text("")
    found = find_model(None)
    assert found.path == Path("outputs/best.pth")
    # What is made of it lies in the work directory, as in the original.
    assert found.folder == Path()


def test_without_any_run_it_is_said_how_to_get_one(at_work):
    Path("runs/begun").mkdir(parents=True)
    Path("runs/begun/run.json").write_text("{}")  # no weights yet
    assert default_run() is None
    with pytest.raises(OptionError, match="Train one with `multibox train DATA`"):
        find_model(None)


@pytest.mark.parametrize("named", ["runs/cats", "cats", "runs/cats/run.json", "runs"])
def test_a_run_is_meant_by_its_folder_its_name_a_file_in_it_and_the_folder_around(at_work, named):
    make_run(Path("runs/cats"))
    found = find_model(named)
    assert found.path == Path("runs/cats/best.pth")
    assert found.run is not None and found.run.folder == Path("runs/cats")
    assert found.account


def test_a_model_in_a_run_is_taken_as_it_is_named_and_belongs_to_the_run(at_work):
    run = make_run(Path("runs/cats"))
    (run / "compressed").mkdir()
    (run / "compressed/latest.pth").write_bytes(b"")
    for named in ("runs/cats/compressed/latest.pth", "runs/cats/compressed"):
        found = find_model(named)
        assert found.path == run / "compressed/latest.pth"
        assert found.run is not None and found.run.folder == run
        assert found.folder == run / "compressed"
    assert find_model("runs/cats/latest.pth").path == run / "latest.pth"


def test_a_run_without_validation_has_last_weights_only(at_work):
    make_run(Path("runs/cats"), best=False)
    found = find_model("cats")
    assert found.path.name == "latest.pth"
    assert found.account.startswith("the last weights")


def test_a_model_of_elsewhere_belongs_to_no_run(at_work):
    Path("model.xml").write_text("")
    found = find_model("model.xml")
    assert (found.path, found.run, found.folder, found.account) == (Path("model.xml"), None, None, "")


def test_a_slip_is_told_what_is_near(at_work):
    make_run(Path("runs/raccoons"))
    with pytest.raises(CheckpointError, match=r"there is no such file, folder or run\. Is runs/raccoons meant\?"):
        find_model("racoons")
    Path("empty").mkdir()
    with pytest.raises(CheckpointError, match="there is no model in this folder"):
        find_model("empty")
