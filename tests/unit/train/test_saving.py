from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from multibox.errors import CheckpointError, TrainingError
from multibox.train.loggers import TensorBoardLogger
from multibox.train.progress import Counters
from multibox.train.restoring import check_training, restore
from multibox.train.run_log import RunLog
from multibox.train.saving import RunFolder
from multibox.train.step import FiniteCheck, Learner
from multibox.weights import checkpoint
from multibox.weights.checkpoint import Checkpoint


def lines(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def write(folder, epochs, *, first_epoch: int) -> None:
    log = RunLog(folder, first_epoch=first_epoch)
    for epoch in epochs:
        log.write(epoch, {"loss": epoch / 2})
    log.close()


def test_each_epoch_is_a_line(tmp_path):
    log = RunLog(tmp_path, first_epoch=1)
    log.write(1, {"loss": 2.5, "ap": None, "steps": 50})
    log.write(2, {"loss": 1.5, "ap": 0.25, "steps": 100})
    log.close()
    assert lines(tmp_path) == [
        {"epoch": 1, "loss": 2.5, "ap": None, "steps": 50},
        {"epoch": 2, "loss": 1.5, "ap": 0.25, "steps": 100},
    ]


def test_an_epoch_is_on_disk_before_the_run_ends(tmp_path):
    RunLog(tmp_path, first_epoch=1).write(1, {"loss": 2.5})
    assert lines(tmp_path) == [{"epoch": 1, "loss": 2.5}]


def test_a_run_without_epochs_has_an_empty_record(tmp_path):
    RunLog(tmp_path, first_epoch=1).close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


def test_a_new_run_starts_a_new_record(tmp_path):
    write(tmp_path, [1, 2, 3], first_epoch=1)
    write(tmp_path, [1], first_epoch=1)
    assert [line["epoch"] for line in lines(tmp_path)] == [1]


def test_a_resumed_run_keeps_the_epochs_before(tmp_path):
    write(tmp_path, [1, 2, 3], first_epoch=1)
    before = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8")
    write(tmp_path, [4], first_epoch=4)
    text = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8")
    assert text.startswith(before)
    assert [line["epoch"] for line in lines(tmp_path)] == [1, 2, 3, 4]


def test_a_resumed_run_replaces_epochs_after_its_checkpoint(tmp_path):
    write(tmp_path, [1, 2, 3, 4], first_epoch=1)
    write(tmp_path, [3], first_epoch=3)
    assert [line["epoch"] for line in lines(tmp_path)] == [1, 2, 3]


def test_half_a_line_of_a_killed_run_goes(tmp_path):
    write(tmp_path, [1, 2], first_epoch=1)
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"epoch": 2, "lo')
    write(tmp_path, [3], first_epoch=3)
    assert [line["epoch"] for line in lines(tmp_path)] == [1, 2, 3]


def test_a_run_resumed_elsewhere_has_a_record_from_there_on(tmp_path):
    write(tmp_path, [5], first_epoch=5)
    assert [line["epoch"] for line in lines(tmp_path)] == [5]


def test_tensorboard_gets_every_value_there_is(tmp_path):
    log = RunLog(tmp_path, [TensorBoardLogger(tmp_path / "board", first_epoch=1)], first_epoch=1)
    log.write(1, {"loss": 2.5, "ap": None})
    log.write(2, {"loss": 1.5, "ap": 0.25})
    log.close()

    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (path,) = (tmp_path / "board").iterdir()
    values = [(v.tag, event.step, v) for event in EventFileLoader(str(path)).Load() for v in event.summary.value]
    assert [(tag, step) for tag, step, _ in values] == [("loss", 1), ("loss", 2), ("ap", 2)]


def folder_of(learner: Learner, path: Path) -> RunFolder:
    return RunFolder(path, learner, None, ("a", "b"), seed=3, steps_per_epoch=4, meta={"start": "random weights"})


@pytest.fixture
def folder(learner, tmp_path) -> RunFolder:
    return folder_of(learner, tmp_path)


@pytest.fixture(scope="module")
def saved(one_learner, tmp_path_factory) -> Checkpoint:
    """What a run in its third epoch leaves."""
    folder = folder_of(one_learner, tmp_path_factory.mktemp("saved"))
    folder.save(
        folder.state(Counters(epoch=2, step_in_epoch=1, step=9, progress=0.3, best_ap=0.25, best_epoch=1)), None
    )
    whole = checkpoint.load(folder.latest)
    check_training(whole)
    return whole


def test_a_saved_run_is_taken_up_where_it_was(folder, learner):
    counters = Counters(epoch=2, step_in_epoch=1, step=9, progress=0.3, best_ap=0.25, best_epoch=1)
    folder.save(folder.state(counters), None)
    saved = checkpoint.load(folder.latest)
    assert (saved.classes, saved.meta["epoch"], saved.meta["iter"], saved.meta["start"]) == (
        ("a", "b"),
        2,
        9,
        "random weights",
    )
    assert restore(learner, saved, steps_per_epoch=4) == counters


def test_a_run_with_steps_of_another_size_goes_on_at_the_same_share_of_its_epoch(folder, learner):
    folder.save(folder.state(Counters(epoch=2, step_in_epoch=3, step=11)), None)
    counters = restore(learner, checkpoint.load(folder.latest), steps_per_epoch=8)
    # 3 of 4 steps are 6 of 8; two epochs of 8 steps are before them.
    assert (counters.epoch, counters.step_in_epoch, counters.step) == (2, 6, 22)


@pytest.mark.parametrize("part", ["averaged weights", "trained weights", "momentum"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nothing_that_is_not_finite_reaches_a_checkpoint(folder, learner, part, value):
    folder.save(folder.state(Counters(epoch=1, step=4)), None)
    before = folder.latest.read_bytes()
    if part == "momentum":
        parameter = next(each for each in learner.model.parameters() if each.requires_grad)
        learner.optimizer.state[parameter]["momentum_buffer"] = torch.full_like(parameter, value)
    else:
        model = learner.average.model if part == "averaged weights" else learner.model
        list(model.parameters())[-1].data[0] = value
    counters = Counters(epoch=2, step=8, best_ap=0.5, best_epoch=2)
    with pytest.raises(TrainingError, match="The weights are not finite after epoch 2"):
        folder.save(folder.state(counters), None)
    assert folder.latest.read_bytes() == before
    assert not folder.best.exists()


def test_what_waits_to_be_checked_is_checked_before_saving(folder, learner):
    delayed = FiniteCheck(is_delayed=True, remedy="Lower it.")
    delayed.add_gradient_norm(torch.tensor(float("nan")), Counters())
    late = dataclasses.replace(folder, learner=dataclasses.replace(learner, check=delayed))
    with pytest.raises(TrainingError, match="Gradients are not finite at epoch 1, step 1"):
        late.save(Counters(epoch=1, step=1), None)
    assert not late.latest.exists()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "5",
        "null",
        "[]",
        "{}",
        '{"epoch": "1"}',
        '{"epoch": null}',
        '{"epoch": -1}',
        "{",
        "NaN",
        '"x"',
        "[" * 100_000,
    ],
    ids=lambda line: line[:20],
)
def test_a_resumed_run_keeps_the_lines_that_are_whole(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_bytes(
        b'{"epoch": 1}\n\xff\xfe\n' + line.encode() + b'\n{"epoch": 2}\n{"epoch": 3}\n'
    )
    write(tmp_path, [3], first_epoch=3)
    assert [each["epoch"] for each in lines(tmp_path)] == [1, 2, 3]


GONE = object()
PARTS = ("model", "optimizer", "counters", "average", "seed")
COUNTS = ("epoch", "step", "step_in_epoch")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *[((key,), value) for key in PARTS for value in (GONE, None, "x")],
        *[((key,), 5) for key in PARTS[:-1]],
        *[((key,), {}) for key in ("model", "optimizer", "counters", "average")],
        *[(("counters", key), value) for key in COUNTS for value in (GONE, None, -1, 10**30, "x")],
        *[(("counters", key), value) for key in ("progress", "best_ap") for value in (-1.0, 2.0, float("nan"), "x")],
        (("counters", "best_epoch"), 99),
        (("counters", "extra"), 1),
        (("average", "start_share"), float("nan")),
        (("seed",), 10**30),
        (("steps_per_epoch",), 0),
        (("steps_per_epoch",), None),
    ],
)  # fmt: skip
def test_a_damaged_record_of_the_training_is_refused_in_one_line(saved, one_learner, place, value):
    training = {
        **saved.training,
        "counters": dict(saved.training["counters"]),
        "average": dict(saved.training["average"]),
    }
    part = training if len(place) == 1 else training[place[0]]
    if value is GONE:
        del part[place[-1]]
    else:
        part[place[-1]] = value
    damaged = dataclasses.replace(saved, training=training)
    with pytest.raises(CheckpointError, match="The checkpoint to resume from") as caught:
        check_training(damaged)
        restore(one_learner, damaged, steps_per_epoch=4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [lambda value: value * float("nan"), lambda value: value[:1], lambda value: 5])
def test_damaged_weights_and_momenta_are_refused(folder, learner, change):
    parameter = next(each for each in learner.model.parameters() if each.requires_grad)
    learner.optimizer.state[parameter]["momentum_buffer"] = torch.ones_like(parameter)
    folder.save(folder.state(Counters(epoch=1, step=4)), None)
    saved = checkpoint.load(folder.latest)
    name = next(key for key, value in saved.training["model"].items() if value.ndim == 4)
    model = {**saved.training["model"], name: change(saved.training["model"][name])}
    with pytest.raises(CheckpointError):
        check_training(dataclasses.replace(saved, training={**saved.training, "model": model}))
    optimizer = saved.training["optimizer"]
    momenta = {key: {"momentum_buffer": change(each["momentum_buffer"])} for key, each in optimizer["state"].items()}
    if change(torch.ones(2, 2)) is not None and isinstance(change(torch.ones(2, 2)), torch.Tensor):
        damaged = dataclasses.replace(saved, training={**saved.training, "optimizer": {**optimizer, "state": momenta}})
        with pytest.raises(CheckpointError, match="optimizer"):
            check_training(damaged)
            restore(learner, damaged, steps_per_epoch=4)


@pytest.fixture
def small_disk():
    """A limit on the size of files, which stands for a disk without room."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(num_bytes: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_without_room_the_last_checkpoint_stays_whole_and_the_message_says_how_to_go_on(folder, learner, small_disk):
    folder.save(folder.state(Counters(epoch=1, step=4)), None)
    before = folder.latest.read_bytes()
    small_disk(100_000)
    with pytest.raises(
        TrainingError, match=r"latest\.pth: File too large\. .* is whole: go on from it with --resume-f"
    ):
        folder.save(folder.state(Counters(epoch=2, step=8)), None)
    assert folder.latest.read_bytes() == before
    assert [path.name for path in folder.path.iterdir()] == ["latest.pth"]
    small_disk(-1)
    folder.save(folder.state(Counters(epoch=2, step=8)), None)
    assert checkpoint.load(folder.latest).training["counters"]["epoch"] == 2


def test_without_room_for_the_first_checkpoint_nothing_is_named_to_go_on_from(folder, small_disk):
    small_disk(100_000)
    with pytest.raises(TrainingError, match=r"The training stops here\. Nothing was saved yet"):
        folder.save(folder.state(Counters(epoch=1, step=4)), None)


def test_without_room_for_a_line_of_the_record_the_run_ends_in_one_line(tmp_path, small_disk):
    log = RunLog(tmp_path, first_epoch=1)
    small_disk(10)
    with pytest.raises(TrainingError, match=r"File too large\. The training stops here"):
        log.write(1, {"loss": 0.5, "ap": 0.25})
