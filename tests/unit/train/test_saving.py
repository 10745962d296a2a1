from __future__ import annotations

import json

from multibox.train.saving import RunLog


def lines(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def write(folder, epochs, *, first_epoch: int) -> None:
    log = RunLog(folder, None, first_epoch=first_epoch)
    for epoch in epochs:
        log.write(epoch, {"loss": epoch / 2})
    log.close()


def test_each_epoch_is_a_line(tmp_path):
    log = RunLog(tmp_path, None, first_epoch=1)
    log.write(1, {"loss": 2.5, "ap": None, "steps": 50})
    log.write(2, {"loss": 1.5, "ap": 0.25, "steps": 100})
    log.close()
    assert lines(tmp_path) == [
        {"epoch": 1, "loss": 2.5, "ap": None, "steps": 50},
        {"epoch": 2, "loss": 1.5, "ap": 0.25, "steps": 100},
    ]


def test_an_epoch_is_on_disk_before_the_run_ends(tmp_path):
    RunLog(tmp_path, None, first_epoch=1).write(1, {"loss": 2.5})
    assert lines(tmp_path) == [{"epoch": 1, "loss": 2.5}]


def test_a_run_without_epochs_has_an_empty_record(tmp_path):
    RunLog(tmp_path, None, first_epoch=1).close()
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
    log = RunLog(tmp_path, tmp_path / "board", first_epoch=1)
    log.write(1, {"loss": 2.5, "ap": None})
    log.write(2, {"loss": 1.5, "ap": 0.25})
    log.close()

    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (path,) = (tmp_path / "board").iterdir()
    values = [(v.tag, event.step, v) for event in EventFileLoader(str(path)).Load() for v in event.summary.value]
    assert [(tag, step) for tag, step, _ in values] == [("loss", 1), ("loss", 2), ("ap", 2)]
