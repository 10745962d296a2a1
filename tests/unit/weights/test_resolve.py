"""What the words after --load-weights and --resume-from stand for."""

from __future__ import annotations

import pytest
import torch

from multibox import config
from multibox.errors import CheckpointError
from multibox.weights import checkpoint
from multibox.weights.bundled import BUNDLED
from multibox.weights.checkpoint import Checkpoint
from multibox.weights.resolve import default_starts, model_file, named_start


@pytest.fixture
def tiny(tiny_template_file):
    return config.load_template(tiny_template_file)


@pytest.fixture
def saved(tiny, tiny_model, tmp_path):
    """A checkpoint of the tiny model, and the same with a run to go on with."""
    weights = tiny_model.state_dict()
    finished = Checkpoint(weights, ("a", "b"), tiny)
    checkpoint.save(tmp_path / "finished.pth", finished)
    checkpoint.save(tmp_path / "run.pth", Checkpoint(weights, ("a", "b"), tiny, training={"seed": 4}))
    return tmp_path


def test_a_file_is_opened(saved, tiny):
    named = named_start(str(saved / "finished.pth"), "", tiny, saved)
    assert named.start.classes == ("a", "b")
    assert (named.resume, named.is_default, named.remark) == (None, False, None)


def test_a_run_is_gone_on_with(saved, tiny):
    named = named_start("", str(saved / "run.pth"), tiny, saved)
    assert named.resume.training == {"seed": 4}
    assert (named.start, named.is_default) == (None, False)


def test_weights_without_a_run_are_only_a_start_and_that_is_said(saved, tiny):
    path = str(saved / "finished.pth")
    named = named_start("", path, tiny, saved)
    assert named.start.classes == ("a", "b") and named.resume is None
    assert named.remark == f"{path} holds weights but no run to go on with: starting a new run from these weights."


def test_random_is_no_start_at_all(tiny, tmp_path):
    named = named_start("random", "", tiny, tmp_path)
    assert (named.start, named.resume, named.is_default) == (None, None, False)


@pytest.mark.parametrize("words", ["", BUNDLED])
def test_without_a_file_the_default_serves(tiny, tmp_path, words):
    assert named_start(words, "", tiny, tmp_path).is_default


def test_the_snapshot_of_a_work_directory_that_is_not_there_stands_for_the_default(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert named_start(tiny.initial_weights, "", tiny, tmp_path).is_default
    with pytest.raises(CheckpointError, match="there is no such file"):
        named_start("other.pth", "", tiny, tmp_path)


def test_bundled_weights_are_two_starts_and_nothing_is_said(tiny, tmp_path):
    starts, remark = default_starts(BUNDLED, tiny, tmp_path, ["cell"])
    assert [start.name.split()[0] for start in starts] == ["bundled-classifier", "bundled-detector"]
    assert remark is None


def test_bundled_weights_of_yolox_nano_are_one_start(tiny_yolox_file, tmp_path):
    starts, _ = default_starts(BUNDLED, config.load_template(tiny_yolox_file), tmp_path, ["cell"])
    assert [start.name.split()[0] for start in starts] == ["bundled"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "Starting from the pretrained weights that come with multibox."),
        ("snapshot.pth", "snapshot.pth: not there; starting from the pretrained weights that come with multibox."),
    ],
)
def test_what_is_taken_instead_is_said(tiny, tmp_path, words, said):
    assert default_starts(words, tiny, tmp_path, ["cell"])[1] == said


def test_the_snapshot_of_a_work_directory_comes_first(tiny, saved):
    (saved / "finished.pth").rename(saved / tiny.initial_weights)
    starts, remark = default_starts("", tiny, saved, ["a"])
    assert [start.classes for start in starts] == [("a", "b")]
    assert remark == f"Starting from {saved / tiny.initial_weights}."


def test_a_model_must_be_a_file(saved):
    assert model_file(saved / "run.pth") == saved / "run.pth"
    with pytest.raises(CheckpointError, match="there is no such file"):
        model_file(saved / "none.pth")
    with pytest.raises(CheckpointError, match="this is a folder, not a file"):
        model_file(saved)


def test_a_start_is_put_in_as_it_is(saved, tiny, tiny_model):
    start = named_start(str(saved / "finished.pth"), "", tiny, saved).start
    for key, value in tiny_model.state_dict().items():
        assert torch.equal(start.weights[key], value)
