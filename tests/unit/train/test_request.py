"""What a training is asked for; whole trainings are in tests/e2e."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from multibox import config
from multibox.config import load_template
from multibox.data.reading import DataFiles
from multibox.errors import DependencyError, OptionError
from multibox.train.request import TrainingRequest, _tensorboard_dir, _with_options, check_loggers
from tests.conftest import TEMPLATE_256, tiny_yolox_template


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


@pytest.mark.parametrize(
    ("rate", "optimizer", "is_said"), [(None, "adamw", False), (0.01, "adamw", False), (0.05, "sgd", True)]
)
def test_a_rate_of_the_original_brings_its_optimizer(rate, optimizer, is_said):
    said: list[str] = []
    request = replace(request_with(None), base_learning_rate=rate)
    template = _with_options(request.template, request, said.append, refine=False)
    assert template.train.optimizer == optimizer
    assert template.hyper_parameters.basic.base_learning_rate == (rate or 0.002)
    expected = "--base-learning-rate 0.05 is a rate of SGD: this run learns with SGD, not with AdamW."
    assert said == [expected] * is_said


def test_a_run_of_adamw_is_not_resumed_with_a_rate_of_sgd():
    request = replace(request_with(None), base_learning_rate=0.05)
    with pytest.raises(OptionError, match=r"--base-learning-rate 0\.05: the run to resume .* take 0\.01 at most"):
        _with_options(request.template, request, print, refine=False, is_resumed=True)
    # One that began so goes on so.
    began = config.changed(request.template, {"train.optimizer": "sgd"})
    assert _with_options(began, request, print, refine=False, is_resumed=True).train.optimizer == "sgd"


def test_yolox_nano_never_learned_with_sgd():
    said: list[str] = []
    request = replace(request_with(None), template=tiny_yolox_template(), base_learning_rate=0.05)
    assert _with_options(request.template, request, said.append, refine=False).train.optimizer == "adamw"
    assert said == []
