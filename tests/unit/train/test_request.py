"""What a training is asked for; whole trainings are in tests/e2e."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from multibox.config import load_template
from multibox.data.reading import DataFiles
from multibox.errors import DependencyError
from multibox.train.request import TrainingRequest, _tensorboard_dir, check_loggers
from tests.conftest import TEMPLATE_256


def request_with(tensorboard_dir: Path | None) -> TrainingRequest:
    return TrainingRequest(
        template=load_template(TEMPLATE_256),
        work_directory=Path(),
        train_files=DataFiles("train.json", "train"),
        val_files=DataFiles("", ""),
        output=Path("out"),
        tensorboard_dir=tensorboard_dir,
    )


def test_without_tensorboard_a_training_says_so_once_and_goes_on(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    said: list[str] = []
    assert _tensorboard_dir(request_with(None), said.append) is None
    assert said == [
        'No records for TensorBoard: TensorBoard is not installed. Install it with: pip install "multibox[tensorboard]"'
    ]


def test_a_folder_for_tensorboard_without_tensorboard_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(DependencyError, match=r"TensorBoard is not installed.*multibox\[tensorboard\]"):
        check_loggers(None, Path("board"))
    with pytest.raises(DependencyError, match="TensorBoard is not installed"):
        check_loggers("tensorboard", None)
    check_loggers(None, None)


def test_records_for_tensorboard_lie_beside_the_checkpoints():
    assert _tensorboard_dir(request_with(None), print) == Path("out/tf_logs")
    assert _tensorboard_dir(request_with(Path("board")), print) == Path("board")
