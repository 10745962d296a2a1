"""Training as a command: what it writes, how it resumes, stops, and refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from multibox import config
from multibox.evaluate import record
from multibox.evaluate.average_precision import measure
from multibox.evaluate.thresholds import suggested
from tests.e2e.conftest import ENVIRONMENT

pytestmark = pytest.mark.e2e


def weights(path: Path) -> dict[str, torch.Tensor]:
    content = torch.load(path, weights_only=True)
    trained = {f"trained.{key}": value for key, value in content["training"]["model"].items()}
    momentum = {
        f"momentum.{key}": value["momentum_buffer"] for key, value in content["training"]["optimizer"]["state"].items()
    }
    return {**content["state_dict"], **trained, **momentum}


def assert_identical(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


def scalars(output: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def test_it_writes_exactly_these_files(multibox, train_arguments, tmp_path):
    output = tmp_path / "out puts"
    done = multibox(*train_arguments, "--save-checkpoints-to", output, "--tensorboard-dir", tmp_path / "board")
    assert done.returncode == 0, done.stderr
    names = ["best.pth", "evaluation.json", "latest.pth", "metrics.jsonl", "run.json", "template.yaml"]
    assert sorted(path.name for path in output.iterdir()) == names
    assert len(list((tmp_path / "board").glob("events.out.tfevents.*"))) == 1
    content = torch.load(output / "latest.pth", weights_only=True)
    assert content["meta"]["CLASSES"] == ["square", "circle", "red, tiny triangle"]
    assert content["meta"]["epoch"] == 2
    assert content["meta"]["train_data"]["images"] == 16
    assert content["meta"]["command"].startswith("multibox train --config")
    assert content["meta"]["libraries"]["torch"]
    made_of = json.loads((output / "run.json").read_text())
    assert {key: content["meta"][key] for key in made_of} == made_of
    resolved = config.load_template(output / "template.yaml")
    assert config.from_plain(content["meta"]["template"], source="checkpoint") == resolved
    assert [line["epoch"] for line in scalars(output)] == [1, 2]
    assert scalars(output)[-1]["ap"] is not None
    assert content["meta"]["start_origin"]["licence"]
    recorded = record.read_record(output / "evaluation.json")
    best = torch.load(output / "best.pth", weights_only=True)["meta"]
    assert measure(recorded.detections, recorded.data).ap == pytest.approx(best["metrics"]["ap"], abs=1e-6)
    assert best["threshold"] == suggested(recorded.detections, recorded.data)


def test_one_seed_gives_one_result_and_another_seed_another(multibox, train_arguments, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        done = multibox(*train_arguments, "--save-checkpoints-to", tmp_path / name, "--seed", seed)
        assert done.returncode == 0, done.stderr
    losses = {name: [line["loss"] for line in scalars(tmp_path / name)] for name in "abc"}
    assert losses["a"] == losses["b"]
    assert losses["a"] != losses["c"]
    assert_identical(weights(tmp_path / "a/latest.pth"), weights(tmp_path / "b/latest.pth"))


def start(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "ignore", "-m", "multibox", *arguments]
    with log.open("ab") as file:
        return subprocess.Popen(command, env=ENVIRONMENT, stdout=file, stderr=subprocess.STDOUT)


def wait_for(path: Path, process: subprocess.Popen[bytes], *, epochs: int) -> None:
    """Until this log has so many epochs and a checkpoint lies beside it."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        has_checkpoint = path.with_name("latest.pth").exists()
        if has_checkpoint and path.exists() and len(path.read_text().splitlines()) >= epochs:
            return
        time.sleep(0.01)
    raise AssertionError("the run ended before it could be killed")


def test_killed_at_random_moments_and_resumed_it_ends_as_if_never_stopped(
    multibox, train_arguments, tiny_template_file, tmp_path
):
    template = config.load_template(tiny_template_file)
    mosaic = config.MosaicConfig(share=0.5, until=0.7, max_images=100)
    augment = config.replace(template.train.augment, mosaic=mosaic)
    template = config.replace(template, train=config.replace(template.train, augment=augment))
    (tmp_path / "mosaics.yaml").write_text(config.dump(template))
    arguments = [
        str(tmp_path / "mosaics.yaml") if part == str(tiny_template_file) else part for part in train_arguments
    ]
    arguments += ["--epochs", "8"]
    assert multibox(*arguments, "--save-checkpoints-to", tmp_path / "whole", "--seed", 7).returncode == 0
    output = tmp_path / "killed"
    arguments += ["--save-checkpoints-to", str(output)]
    random = np.random.default_rng(int(time.time()))
    for kill in range(3):
        # The seed, like all else of a run, comes from its checkpoint.
        resume = ["--resume-from", str(output / "latest.pth")] if kill else ["--seed", "7"]
        process = start([*arguments, *resume], tmp_path / "log.txt")
        wait_for(output / "metrics.jsonl", process, epochs=2 * kill + 1)
        time.sleep(random.uniform(0, 0.6))
        process.send_signal(signal.SIGKILL)
        process.wait()
        torch.load(output / "latest.pth", weights_only=True)
    done = multibox(*arguments, "--resume-from", output / "latest.pth")
    assert done.returncode == 0, done.stderr
    assert_identical(weights(tmp_path / "whole/latest.pth"), weights(output / "latest.pth"))
    whole, resumed = scalars(tmp_path / "whole"), scalars(output)
    assert [line["epoch"] for line in resumed] == list(range(1, 9))
    assert [line["loss"] for line in resumed][-1] == whole[-1]["loss"]
    assert [line["ap"] for line in resumed] == [line["ap"] for line in whole]
    best = [torch.load(tmp_path / f"{name}/best.pth", weights_only=True)["state_dict"] for name in ("whole", "killed")]
    assert_identical(*best)


@pytest.mark.skipif(os.name == "nt", reason="signals of Windows differ")
def test_ctrl_c_leaves_a_checkpoint_from_which_the_run_ends_as_if_never_stopped(multibox, train_arguments, tmp_path):
    arguments = [*train_arguments, "--epochs", "6"]
    assert multibox(*arguments, "--save-checkpoints-to", tmp_path / "whole").returncode == 0
    output = tmp_path / "stopped"
    process = start([*arguments, "--save-checkpoints-to", str(output)], tmp_path / "log.txt")
    wait_for(output / "metrics.jsonl", process, epochs=2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=600) == 130
    assert "Go on with:\n  multibox train --resume-from" in (tmp_path / "log.txt").read_text()
    done = multibox(*arguments, "--save-checkpoints-to", output, "--resume-from", output / "latest.pth")
    assert done.returncode == 0, done.stderr
    assert_identical(weights(tmp_path / "whole/latest.pth"), weights(output / "latest.pth"))


def test_a_loss_that_is_not_finite_ends_the_run_before_the_step(multibox, train_arguments, tmp_path):
    done = multibox(
        *train_arguments, "--save-checkpoints-to", tmp_path / "out", "--base-learning-rate", "1e30", "--epochs", "3"
    )
    assert done.returncode == 1
    assert "Loss is not finite at epoch" in done.stderr
    assert "Lower --base-learning-rate, now 1e+30" in done.stderr
    assert "Traceback" not in done.stderr
    if (tmp_path / "out/latest.pth").exists():
        saved = torch.load(tmp_path / "out/latest.pth", weights_only=True)["training"]["model"]
        assert all(bool(torch.isfinite(value).all()) for value in saved.values())


def starting_from(weights, train_arguments):
    return [weights if argument == "random" else argument for argument in train_arguments]


def by_template(template, path, train_arguments):
    """The options of a training by this template, which is written to `path`."""
    path.write_text(config.dump(template), encoding="utf-8")
    return [path if str(argument).endswith(".yaml") else argument for argument in train_arguments]


def test_weights_go_on_to_other_classes_by_name(multibox, train_arguments, tmp_path):
    first = tmp_path / "first"
    assert multibox(*train_arguments, "--save-checkpoints-to", first).returncode == 0
    done = multibox(
        *(*starting_from(first / "latest.pth", train_arguments), "--save-checkpoints-to", tmp_path / "second"),
        *("--classes", 'circle,"red, tiny triangle"', "--epochs", "1"),
    )
    assert done.returncode == 0, done.stderr
    assert "with what they know of circle and red, tiny triangle." in done.stdout
    meta = torch.load(tmp_path / "second/latest.pth", weights_only=True)["meta"]
    assert meta["CLASSES"] == ["circle", "red, tiny triangle"]


def test_anchors_of_the_start_that_miss_objects_give_way_to_those_of_the_template(
    multibox, train_arguments, tiny_template_file, tmp_path
):
    template = config.load_template(tiny_template_file)
    clustering = config.replace(template.train.anchor_clustering, enabled=True, min_boxes=1, min_gain=0.5)
    fitting = config.replace(template, train=config.replace(template.train, anchor_clustering=clustering))
    tiny_anchors = tuple(tuple((2.0, 2.0) for _ in level) for level in template.model.anchors_px)
    missing = config.replace(template, model=config.replace(template.model, anchors_px=tiny_anchors))
    options = [*train_arguments, "--epochs", "1"]
    first = by_template(missing, tmp_path / "missing.yaml", options)
    done = multibox(*first, "--save-checkpoints-to", tmp_path / "first")
    assert done.returncode == 0, done.stderr
    second = starting_from(tmp_path / "first/latest.pth", by_template(fitting, tmp_path / "fitting.yaml", options))
    done = multibox(*second, "--save-checkpoints-to", tmp_path / "second", "--verbose")
    assert done.returncode == 0, done.stderr
    assert "Anchors: the template's (they fit " in done.stdout
    used = config.load_template(tmp_path / "second/template.yaml").model.anchors_px
    assert used == template.model.anchors_px


# What is wrong, the options that say it, and what the one line must name.
WRONG = {
    "no template": (["--config", "nowhere.yaml"], "nowhere.yaml: cannot read the template"),
    "no annotation file": (["--train-ann-files", "nowhere.json"], "nowhere.json"),
    "unknown class": (["--classes", "squar"], "Did you mean"),
    "unknown device": (["--device", "abacus"], "--device abacus: this machine has no such device"),
    "no weights": (["--load-weights", "nowhere.pth"], "nowhere.pth: there is no such file"),
    "both lengths": (["--time-budget", "1", "--epochs", "2"], "Leave one out"),
    "negative epochs": (["--epochs", "-1"], "--epochs"),
    "misspelt option": (["--epoch", "1"], "--epoch"),
    "one of two": (["--val-data-roots", ""], "go together"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_is_one_line_and_exit_code_2_before_anything_is_written(multibox, train_arguments, tmp_path, case):
    options, expected = WRONG[case]
    kept = list(train_arguments)
    for name in options[::2]:
        if name in kept:
            position = kept.index(name)
            del kept[position : position + 2]
    done = multibox(*kept, *options, "--save-checkpoints-to", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert expected in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_bad_records_are_refused_or_left_out_and_listed(multibox, train_arguments, shapes_data, tmp_path):
    content = msgspec.json.decode(shapes_data.train_file.read_bytes())
    content["annotations"][5]["bbox"][2] = 0
    content["images"].append({"id": 999, "file_name": "gone.png", "width": 160, "height": 120})
    bad = tmp_path / "bad.json"
    bad.write_bytes(msgspec.json.encode(content))
    arguments = list(train_arguments)
    arguments[arguments.index("--train-ann-files") + 1] = str(bad)
    arguments += ["--save-checkpoints-to", str(tmp_path / "out"), "--epochs", "1"]
    refused = multibox(*arguments)
    assert refused.returncode == 2
    assert "bad.json" in refused.stderr and "--skip-bad" in refused.stderr
    assert not (tmp_path / "out").exists()
    accepted = multibox(*arguments, "--skip-bad")
    assert accepted.returncode == 0, accepted.stderr
    listed = (tmp_path / "out/skipped.txt").read_text()
    assert "gone.png" in listed and len(listed.splitlines()) == 2
