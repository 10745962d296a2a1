"""docs/deploy.md: its Python programs, run as they are beside an export, find what our own runtime finds."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from multibox import config
from multibox.export.run import Request, write_files
from multibox.export.serving import NAME, ovms_config
from multibox.runtime.onnx_runtime import OnnxRuntime
from multibox.runtime.openvino_runtime import OpenVINORuntime

PAGE = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")
CLASSES = ("red, tiny triangle", "square")
SIZE = (288, 192)  # of the picture, 3 x 2 times that of the network's input

pytestmark = pytest.mark.e2e


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def model_file(program: str) -> str:
    """The exported file that a program opens first."""
    found = re.search(r'"([\w/]+\.(?:xml|onnx))"', program)
    assert found is not None
    return found[1]


PROGRAMS = blocks("python")
DETECTORS = [program for program in PROGRAMS if "picture.jpg" in program and "model_api" not in program]
MODEL_API = [program for program in PROGRAMS if "model_api" in program]
OTHERS = [program for program in PROGRAMS if "picture.jpg" not in program]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_template_file: Path, tiny_model: Any) -> Path:
    """Every file of an export, of a network with few and clear detections, and a picture."""
    from multibox.weights.checkpoint import Checkpoint, save

    network = copy.deepcopy(tiny_model)
    for _, _, _, last in network.bbox_head.cls_convs:
        # Random weights find a little of everything everywhere. Now scores are clear, and most of them background.
        last.weight.data *= 10
        last.bias.data.unflatten(0, (-1, len(CLASSES) + 1))[:, -1] += 10
    folder = tmp_path_factory.mktemp("export")
    checkpoint = Checkpoint(network.state_dict(), CLASSES, config.load_template(tiny_template_file))
    save(folder / "latest.pth", checkpoint)
    write_files(checkpoint, folder / "latest.pth", folder, Request(raw=True))
    noise = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    picture = cv2.resize(noise, SIZE, interpolation=cv2.INTER_CUBIC)
    assert cv2.imwrite(str(folder / "picture.jpg"), picture)
    return folder


def run(program: str, folder: Path) -> str:
    """What a program prints that runs in a folder; in this process, which has the libraries loaded."""
    output = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(output):
        exec(compile(program, "docs/deploy.md", "exec"), {"__name__": "__main__"})
    return output.getvalue()


def printed(output: str) -> list[tuple[str, np.ndarray]]:
    """The class and the five numbers of each line. Class names may have blanks, which some readers make underscores."""
    lines = [line.rsplit(maxsplit=5) for line in output.splitlines()]
    return [(name.replace("_", " "), np.array(numbers, dtype=float)) for name, *numbers in lines]


def found_by_runtime(path: Path, image: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The same of our runtime, which like the programs computes in the precision that the device prefers."""
    runtime = OnnxRuntime(path) if path.suffix == ".onnx" else OpenVINORuntime(path)
    found = runtime([image])[0].above(0.3)
    rows = zip(found.labels.tolist(), found.scores, found.boxes_px(*SIZE), strict=True)
    return [(runtime.classes[label], np.array([score, *box])) for label, score, box in rows]


def test_there_is_a_program_for_each_form():
    assert {model_file(program) for program in DETECTORS} == {
        *("model.xml", "alt_ssd_export/model.xml", "raw/model.xml", "model.onnx", "raw/model.onnx")
    }


@pytest.mark.parametrize("program", DETECTORS, ids=model_file)
def test_a_program_prints_what_the_runtime_finds(program, folder):
    image = cv2.imread(str(folder / "picture.jpg"))
    assert_same(printed(run(program, folder)), found_by_runtime(folder / model_file(program), image))


def test_the_program_for_model_api_prints_what_the_runtime_finds(folder, tmp_path):
    (program,) = MODEL_API
    for name in ("model.xml", "model.bin"):
        shutil.copy(folder / name, tmp_path)
    # Model API resizes by a rule of its own. Where each pixel of the network's input is one of 2 x 3 equal pixels, all
    # rules give the same; how far they differ on photographs is tested in tests/parity/test_model_api.py.
    small = cv2.resize(cv2.imread(str(folder / "picture.jpg")), (96, 96))
    image = small.repeat(2, axis=0).repeat(3, axis=1)
    (tmp_path / "picture.jpg").write_bytes(cv2.imencode(".png", image)[1].tobytes())  # JPEG would blur the blocks
    assert_same(printed(run(program, tmp_path)), found_by_runtime(folder / "model.xml", image))


def assert_same(lines: list[tuple[str, np.ndarray]], expected: list[tuple[str, np.ndarray]]) -> None:
    assert len(expected) >= 5 and {name for name, _ in expected} == set(CLASSES)
    assert len(lines) == len(expected)
    for name, numbers in expected:
        same = [line for line in lines if line[0] == name and is_close(line[1], numbers)]
        assert len(same) == 1, f"{name} {numbers} is not once among\n" + "\n".join(map(str, lines))


def is_close(numbers: np.ndarray, expected: np.ndarray) -> bool:
    difference = np.abs(numbers - expected)
    return bool(difference[0] < 0.01 and difference[1:].max() < 1)


def test_the_first_program_draws_on_the_whole_picture(folder):
    run(DETECTORS[0], folder)
    before, after = (cv2.imread(str(folder / name)) for name in ("picture.jpg", "detected.jpg"))
    assert after.shape == before.shape
    assert np.abs(after.astype(int) - before).max() > 100


def test_the_program_for_the_description_prints_the_classes_of_both_kinds_of_file(folder):
    (program,) = OTHERS
    of_ir, checkpoint_hash, of_onnx = run(program, folder).splitlines()
    assert of_ir == "IR ['red, tiny triangle', 'square']"
    assert re.fullmatch("IR [0-9a-f]{64}", checkpoint_hash)
    assert of_onnx == "ONNX ['red, tiny triangle', 'square']"


def test_the_configuration_of_the_server_is_the_one_that_is_shown(folder):
    (text,) = blocks("json")
    assert json.loads(text) == json.loads(ovms_config(OpenVINORuntime(folder / "model.xml").info))
    assert f"openvino_model_server/config.json, {NAME}/1/model.xml" in PAGE


def test_opencv_reads_no_other_form(folder):
    for name in ("model.onnx", "model.xml", "alt_ssd_export/model.xml"):
        with pytest.raises(cv2.error):
            cv2.dnn.readNet(str(folder / name)).forward(["boxes"])


def as_frigate_reads_it(path: Path, image: np.ndarray) -> list[tuple[int, float]]:
    """Labels and scores as docs/edge_devices.md has it of Frigate: 20 rows at most, to the first score under 0.1."""
    import openvino

    model = openvino.Core().compile_model(str(path), "CPU")
    request = model.create_infer_request()
    request.infer([image.transpose(2, 0, 1)[np.newaxis]])  # planar bytes, BGR
    rows = request.get_output_tensor().data[0, 0]
    weak = [*(rows[:, 2] < 0.1).nonzero()[0], len(rows)][0]
    return [(int(label), float(score)) for _, label, score, *_ in rows[: min(weak, 20)]]


@pytest.mark.parametrize("name", ["alt_ssd_export/model.xml", "raw/model.xml"])
def test_the_forms_for_npus_have_fixed_shapes_throughout(folder, name):
    import openvino

    nodes = openvino.Core().read_model(str(folder / name)).get_ordered_ops()
    assert len(nodes) > 100
    assert [node.get_friendly_name() for node in nodes for out in node.outputs() if out.partial_shape.is_dynamic] == []


def test_frigate_would_see_the_first_class_only(folder):
    image = cv2.resize(cv2.imread(str(folder / "picture.jpg")), (96, 96))
    path = folder / "alt_ssd_export/model.xml"
    found = OpenVINORuntime(path)(image).above(0.1)
    first = sorted(found.scores[found.labels == 0].tolist(), reverse=True)
    assert {0, 1} == set(found.labels.tolist())
    seen = as_frigate_reads_it(path, image)
    assert [label for label, _ in seen] == [0] * len(first[:20])
    assert np.allclose([score for _, score in seen], first[:20])


def test_the_request_to_the_server_counts_its_own_header():
    (request,) = blocks("http")
    length = re.search(r"Inference-Header-Content-Length: (\d+)", request)
    header = request.splitlines()[-1].split("....")[0]
    assert length is not None and int(length[1]) == len(header)
    assert json.loads(header)["inputs"][0]["datatype"] == "BYTES"
