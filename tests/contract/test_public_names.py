"""What users' code and scripts rely on: names, commands, options. A change here is a change for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import multibox
from multibox.cli import app

OPTIONS = {
    "new": {"--do-not-load-snapshot", "--offline"},
    "train": {
        *("--data", "--minutes", "--size", "--val", "--val-share", "--model", "--out", "--name"),
        *("--train-ann-files", "--train-data-roots", "--val-ann-files", "--val-data-roots"),
        *("--load-weights", "--resume-from", "--save-checkpoints-to", "--epochs", "--batch-size"),
        *("--gpu-num", "--base-learning-rate", "--classes", "--tensorboard-dir", "--log-to", "--config"),
        *("--seed", "--device", "--time-budget", "--skip-bad"),
    },
    "eval": {
        *("--model", "--data"),
        *("--load-weights", "--test-ann-files", "--test-data-roots", "--save-metrics-to", "--save-output-to"),
        *("--classes", "--config", "--save-detections-to", "--device", "--threshold", "--skip-bad"),
        *("--tile", "--tile-overlap"),
    },
    "export": {
        *("--model", "--data", "--out"),
        *("--load-weights", "--save-model-to", "--classes", "--openvino", "--no-openvino", "--onnx", "--no-onnx"),
        *("--openvino-input-format", "--precision", "--batch", "--raw", "--val-ann-files", "--val-data-roots"),
        *("--config", "--web", "--serve"),
    },
    "compress": {
        *("--model", "--data", "--out", "--minutes"),
        *("--load-weights", "--train-ann-files", "--train-data-roots", "--val-ann-files", "--val-data-roots"),
        *("--save-checkpoints-to", "--batch-size", "--gpu-num", "--classes", "--nncf-quantization"),
        *("--resume-from", "--max-drop", "--method", "--time-budget", "--seed", "--config", "--skip-bad"),
    },
    "doctor": {
        *("--train-ann-files", "--train-data-roots", "--val-ann-files", "--val-data-roots", "--classes"),
        *("--data", "--json", "--save-mosaic", "--fix", "--no-timing"),
    },
    "convert": {"--out", "--save-to", "--format"},
    "predict": {
        *("--model", "--out", "--agnostic-nms", "--pick"),
        *("--load-weights", "--threshold", "--save-to", "--json", "--csv", "--coco", "--ann-file"),
        *("--save-labels", "--format"),
        *("--tile", "--tile-overlap", "--device", "--classes", "--config"),
    },
    "bench": {
        *("--images", "--device", "--precision", "--seconds", "--decode-threads", "--json", "--classes", "--config"),
    },
    "demo": {"--model", "--load-weights", "--threshold", "--port", "--no-browser", "--device", "--classes", "--config"},
    "report": {"--out", "--save-to", "--val-ann-files", "--val-data-roots", "--paths"},
    "card": {"--out", "--name", "--license", "--val-ann-files", "--val-data-roots"},
    "info": set(),
}
DETAILS = {"--verbose", "-v"}
WITH_DETAILS = {"doctor", "train", "predict", "eval", "export", "compress", "bench", "new"}


def test_public_names():
    assert multibox.__all__ == ["Detections", "MultiboxError", "Run", "Runtime", "__version__", "draw", "load", "train"]
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        multibox.nothing  # noqa: B018


@pytest.mark.parametrize("name", multibox.__all__)
def test_a_public_name_is_the_same_object_however_often_it_is_asked_for(name):
    # In a process of its own: what a lazy name gives depends on which modules were imported before.
    code = f"""
import multibox
first = multibox.{name}
second = multibox.{name}
from multibox import {name} as third
from multibox import *
import multibox.{{}}
assert first is second is third is {name} is multibox.{name}
assert isinstance(first, str) or callable(first)
assert "{name}" in dir(multibox)
"""
    modules = [path.stem for path in Path(multibox.__file__).parent.glob("*.py") if path.stem != "__main__"]
    every_module = ", multibox.".join(module for module in modules if module != "__init__")
    subprocess.run([sys.executable, "-c", code.format(every_module)], check=True)


def test_no_module_has_the_name_of_a_public_function():
    # Importing the module would put it in the place of the function.
    names = {path.stem for path in Path(multibox.__file__).parent.iterdir()}
    assert names & set(multibox.__all__) == {"train"}  # the room that can be called


def test_there_are_exactly_these_commands():
    commands = {name for name in app if not name.startswith("-")}
    assert commands == set(OPTIONS)


@pytest.mark.parametrize("command", OPTIONS)
def test_options_of_a_command(command):
    arguments = app[command].assemble_argument_collection()
    names = {name for argument in arguments for name in argument.names if name.startswith("-")}
    assert names == OPTIONS[command] | (DETAILS if command in WITH_DETAILS else set())


def imported_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.splitlines()}


HEAVY = {"torch", "lightning_fabric", "nncf", "tensorboard"}


def test_the_command_line_starts_without_heavy_libraries():
    assert not imported_by("from multibox.cli import app") & (HEAVY | {"openvino", "cv2"})


def test_importing_the_package_loads_next_to_nothing():
    assert not imported_by("import multibox") & (HEAVY | {"openvino", "cv2", "numpy"})


def test_an_exported_model_runs_without_torch(shared: Path):
    xml = shared / "pretrained/person-vehicle-bike-detection-2000/FP16/person-vehicle-bike-detection-2000.xml"
    statement = f"import multibox, numpy; multibox.load({str(xml)!r})([numpy.zeros((90, 120, 3), numpy.uint8)])"
    assert not imported_by(statement) & HEAVY


def test_training_without_torch_says_what_to_install(shapes_data):
    options = ["--train-ann-files", str(shapes_data.train_file), "--train-data-roots", str(shapes_data.train_root)]
    command = ["train", "--config", "mobilenet_v2-2s_ssd-256x256", *options]
    code = f"import sys; sys.modules['torch'] = None; from multibox.cli import main; sys.exit(main({command!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == 'This needs torch. Install it with: pip install "multibox[train]"\n'
