"""Training in several processes: the same result as in one, and on after one of them is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.e2e.conftest import ENVIRONMENT


def lines_of(folder: Path) -> list[dict[str, float]]:
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def from_trained(train_arguments, trained) -> list[str]:
    """A training that starts from good weights: a fresh network amplifies the last digit of a float to percents."""
    rate = ("--base-learning-rate", "1e-3")
    return [str(trained) if argument == "random" else argument for argument in train_arguments] + [*rate]


@pytest.fixture
def from_trained_yolox(train_arguments, trained_yolox, tiny_yolox_file) -> list[str]:
    """A training of YOLOX-Nano that starts from good weights."""
    others = {"random": str(trained_yolox), train_arguments[2]: str(tiny_yolox_file)}
    return [others.get(argument, argument) for argument in train_arguments]


def test_three_processes_do_what_one_does_with_the_same_global_batch(
    multibox, multibox_process, from_trained, shapes_data, tmp_path
):
    # 16 training and 8 validation images: neither is a multiple of 3, and 16 no multiple of 6.
    for name, batch, processes in (("one", 6, 1), ("three", 2, 3)):
        options = ("--save-checkpoints-to", tmp_path / name, "--batch-size", batch, "--gpu-num", processes)
        run = multibox_process if processes > 1 else multibox
        done = run(*from_trained, *options, "--epochs", "2")
        assert done.returncode == 0, done.stderr
    one, three = (lines_of(tmp_path / name) for name in ("one", "three"))
    # One process's batch normalisation is PyTorch's, right to 1e-5 here; the steps of so small a network on 3 x 3
    # cells amplify that. Gradients of another scale would move the first epoch by several percent.
    assert [line["step"] for line in three] == [line["step"] for line in one]
    np.testing.assert_allclose(three[0]["loss"], one[0]["loss"], rtol=1e-3)
    np.testing.assert_allclose(three[1]["loss"], one[1]["loss"], rtol=2e-2)
    # Their validation is that of one process, to the last digit.
    done = multibox(
        *("eval", "--load-weights", tmp_path / "three/latest.pth", "--save-metrics-to", tmp_path / "alone.yaml"),
        *("--test-ann-files", shapes_data.val_file, "--test-data-roots", shapes_data.val_root),
    )
    assert done.returncode == 0, done.stderr
    alone = json.loads((tmp_path / "alone.json").read_text())["metrics"]
    assert [three[-1][key] for key in ("ap", "ap50", "ap75")] == [alone[key] for key in ("ap", "ap50", "ap75")]
    assert 0 < alone["ap"] < 1


def test_two_processes_learn_with_yolox_nano_what_one_learns(multibox, multibox_process, from_trained_yolox, tmp_path):
    for name, batch, processes in (("one", 6, 1), ("two", 3, 2)):
        options = ("--save-checkpoints-to", tmp_path / name, "--batch-size", batch, "--gpu-num", processes)
        run = multibox_process if processes > 1 else multibox
        done = run(*from_trained_yolox, *options, "--epochs", "1")
        assert done.returncode == 0, done.stderr
    (one,), (two,) = (lines_of(tmp_path / name) for name in ("one", "two"))
    assert two["step"] == one["step"]
    # Losses divided by each process's own number of places would differ by tens of percents.
    for part in ("loss", "loss_classes", "loss_objectness", "loss_boxes"):
        np.testing.assert_allclose(two[part], one[part], rtol=2e-2)


def test_a_run_goes_on_with_another_number_of_processes(multibox, multibox_process, from_trained_yolox, tmp_path):
    common = (*from_trained_yolox, "--save-checkpoints-to", tmp_path, "--batch-size", 4)
    assert multibox(*common, "--epochs", "1").returncode == 0
    one = lines_of(tmp_path)
    done = multibox_process(
        *(*common, "--resume-from", tmp_path / "latest.pth", "--epochs", "3", "--gpu-num", 2),
    )
    assert done.returncode == 0, done.stderr
    assert "Resuming in epoch 2" in done.stdout
    lines = lines_of(tmp_path)
    assert lines[0] == one[0] and [line["epoch"] for line in lines] == [1, 2, 3]
    assert abs(lines[1]["loss"] - one[0]["loss"]) < 0.5 * one[0]["loss"]


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the processes in /proc")
def test_a_killed_worker_is_started_again_and_goes_on_from_the_last_checkpoint(from_trained, tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1")
    command = [
        *(sys.executable, "-W", "ignore", *launcher, "-m", "multibox", *from_trained),
        *("--save-checkpoints-to", tmp_path, "--batch-size", "2", "--epochs", "5", "--gpu-num", "2"),
    ]
    with subprocess.Popen(
        list(map(str, command)), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        deadline = time.monotonic() + 600
        while len(lines_of(tmp_path)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(worker_of(run.pid, rank=1), signal.SIGKILL)
        output, errors = run.communicate(timeout=600)
    assert run.returncode == 0, errors
    assert "A process failed, and torchrun started again: resuming from" in output
    assert [line["epoch"] for line in lines_of(tmp_path)] == list(range(1, 6))
    saved = torch.load(tmp_path / "latest.pth", weights_only=True)
    assert saved["meta"]["epoch"] == 5 and saved["meta"]["processes"] == 2


def test_a_restart_leaves_the_end_of_the_time_budget_where_it_was(multibox, from_trained, tmp_path, monkeypatch):
    def start(number: int) -> subprocess.CompletedProcess[str]:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "one run")
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(number))
        length = ("--time-budget", "5") if number else ("--epochs", "1")
        return multibox(*from_trained, "--save-checkpoints-to", tmp_path, *length)

    assert start(0).returncode == 0
    saved = torch.load(tmp_path / "latest.pth", weights_only=True)
    saved["meta"]["begun"] -= 300
    torch.save(saved, tmp_path / "latest.pth")
    done = start(1)
    assert done.returncode == 0, done.stderr
    # Five minutes are over: one step more, and the end.
    assert lines_of(tmp_path)[-1]["step"] == lines_of(tmp_path)[0]["step"] + 1


def worker_of(launcher: int, *, rank: int) -> int:
    """The process id of a worker that torchrun started."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if parent == launcher and f"RANK={rank}".encode() in environment:
            return int(folder.name)
    raise AssertionError(f"no worker of rank {rank}")


def test_a_data_set_is_trained_on_in_two_processes(multibox_process, shapes_data, tiny_template_file, tmp_path):
    run = tmp_path / "run"
    words = ("--model", tiny_template_file, "--load-weights", "random", "--device", "cpu", "--gpu-num", "2")
    done = multibox_process("train", shapes_data.train_file.parent, "--out", run, "--epochs", "1", *words)
    assert done.returncode == 0, done.stderr
    (facts,) = run.rglob("run.json")
    assert json.loads(facts.read_text())["processes"] == 2
    assert [path.name for path in run.rglob(".*")] == []
