"""What a refactoring must not change: losses, weights, detections, exported bytes, metrics, the words of each help.

    python -m tests.unchanged.recording        # writes record.json anew

Only public commands are used, so the record outlives every file of the package. Whoever changes a number or a help text
on purpose writes the record anew in the same commit and says so there.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from multibox import config
from tests.conftest import ShapesData, tiny_template, write_shapes

RECORD = Path(__file__).with_name("record.json")
COMMANDS = (
    *("doctor", "train", "predict", "eval", "export", "compress", "report", "card", "demo", "bench", "info", "convert"),
    "new",
)
STEPS = 30
LIBRARIES = ("torch", "openvino", "numpy", "opencv-python-headless", "cyclopts", "rich")


def record(folder: Path) -> dict[str, Any]:
    """Everything but the help, from two short runs on the shapes: fresh weights, and a start with frozen stages."""
    shapes = write_shapes(folder)
    template_file = _one_step_template(folder / "template.yaml")
    fresh, frozen = folder / "fresh weights", folder / "frozen stages"
    _train(shapes, template_file, fresh, "random")
    _train(shapes, template_file, frozen, "bundled-classifier")
    _run("export", "--load-weights", frozen / "latest.pth", "--save-model-to", frozen / "export")
    evaluation = frozen / "metrics.yaml"
    _run(
        *("eval", "--load-weights", frozen / "latest.pth", "--device", "cpu", "--save-metrics-to", evaluation),
        *("--test-ann-files", shapes.val_file, "--test-data-roots", shapes.val_root),
    )
    return {
        "computed_by": computed_by(),
        "losses": {run.name: _losses(run) for run in (fresh, frozen)},
        "weights": {run.name: _weights_hash(run / "latest.pth") for run in (fresh, frozen)},
        "detections": _detections(frozen / "latest.pth", shapes),
        "exported_weights": hashlib.sha256((frozen / "export/model.bin").read_bytes()).hexdigest(),
        "metrics.yaml": _without_file(evaluation.read_text(encoding="utf-8")),
    }


def computed_by() -> dict[str, str]:
    """What rounding and the form of help depend on.

    Between two processors, numbers are compared with a tolerance and bytes are not; between two versions of a library,
    nothing is compared.
    """
    import torch

    return {
        **{name: version(name).partition("+")[0] for name in LIBRARIES},
        "processor": f"{platform.machine()} {_processor()} {torch.backends.cpu.get_cpu_capability()}",
    }


def help_texts() -> dict[str, str]:
    """What `--help` of the program and of each command says, at 100 columns."""
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    texts = {}
    for command in ("", *COMMANDS):
        words = [sys.executable, "-m", "multibox", *filter(None, [command]), "--help"]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        texts[command or "multibox"] = done.stdout
    return texts


def _one_step_template(path: Path) -> Path:
    """A template whose epochs are one step of all 16 images, so that metrics.jsonl has the loss of each step."""
    template = tiny_template()
    template = config.changed(template, {"train.schedule.min_steps_per_epoch": 1})
    path.write_text(config.dump(template), encoding="utf-8")
    return path


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _run(*arguments: Any) -> None:
    from multibox.cli import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = main([str(argument) for argument in arguments])
    assert code == 0, said.getvalue()


def _train(shapes: ShapesData, template_file: Path, output: Path, start: str) -> None:
    _run(
        *("train", "--config", template_file, "--device", "cpu", "--load-weights", start, "--seed", "5"),
        *("--train-ann-files", shapes.train_file, "--train-data-roots", shapes.train_root),
        *("--epochs", STEPS, "--batch-size", "16", "--base-learning-rate", "0.03", "--save-checkpoints-to", output),
    )


def _losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    return [line["loss"] for line in lines]


def _weights_hash(path: Path) -> str:
    import torch

    digest = hashlib.sha256()
    for key, value in torch.load(path, weights_only=True)["state_dict"].items():
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(value.numpy()).tobytes())
    return digest.hexdigest()


def _without_file(metrics_yaml: str) -> str:
    """The text less what differs from run to run: a checkpoint holds the time at which it was saved."""
    return re.sub(r"(sha256|source|size): (?=[0-9a-f]{64}|.*latest\.pth|\d{6,}).*", r"\1: (varies)", metrics_yaml)


def _detections(path: Path, shapes: ShapesData) -> list[dict[str, Any]]:
    import cv2

    import multibox

    detector = multibox.load(path, device="cpu")
    images = [cv2.imread(str(file)) for file in sorted(shapes.val_root.iterdir())]
    return [
        {"boxes": found.boxes[:20].tolist(), "scores": found.scores[:20].tolist(), "labels": found.labels[:20].tolist()}
        for found in detector(images)
    ]


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        content = {**record(Path(name)), "help": help_texts()}
    RECORD.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
