from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from multibox import config
from multibox.errors import CheckpointError, DependencyError, OptionError
from multibox.export import onnx_model
from multibox.model import ssd
from multibox.model.folding import fold
from multibox.runtime.contract import ExportInfo, Origin
from multibox.runtime.onnx_runtime import OnnxRuntime
from multibox.runtime.torch_runtime import TorchRuntime
from multibox.structures import Detections

CLASSES = ("square", "circle", "red, tiny triangle")


@pytest.fixture(scope="module")
def template(tiny_template_file) -> config.Template:
    return config.load_template(tiny_template_file)


@pytest.fixture(scope="module")
def network(template) -> ssd.SSD:
    """A network whose scores lie far enough apart to have one order in every engine."""
    torch.manual_seed(2)
    model = fold(ssd.build_ssd(template, num_classes=3))
    for branch in model.bbox_head.cls_convs:
        branch[-1].weight.data.mul_(4)
    return model


def make_info(template: config.Template, *, form: str, batch: int) -> ExportInfo:
    return ExportInfo(
        form=form,
        classes=CLASSES,
        input_size=96,
        channel_order="RGB",
        input_maximum=1,
        batch=batch,
        precision="FP32",
        suggested_threshold=0.3,
        min_score=template.postprocess.score_threshold,
        iou_threshold=template.postprocess.iou_threshold,
        max_per_class=template.postprocess.max_per_class,
        max_detections=template.postprocess.max_detections,
        anchors_px=template.model.anchors_px,
        strides=(16, 32),
        box_variances=template.model.box_variances,
        origin=Origin(checkpoint="latest.pth", sha256="0" * 64),
        versions={},
        template={},
    )


@pytest.fixture(scope="module")
def files(template, network, tmp_path_factory) -> dict[tuple[str, int], Path]:
    """Files by form and batch."""
    folder = tmp_path_factory.mktemp("onnx files")
    paths = {}
    for form, batch in (("boxes_labels", 1), ("boxes_labels", 2), ("boxes_labels", 0), ("raw", 2), ("raw", 0)):
        paths[form, batch] = folder / f"{form} {batch}.onnx"
        onnx.save(onnx_model.build_onnx_model(network, make_info(template, form=form, batch=batch)), paths[form, batch])
    return paths


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """Eleven pictures of different sizes: more than one call, whatever the batch."""
    rng = np.random.default_rng(7)
    return [rng.integers(0, 256, (80 + 3 * i, 120 - 2 * i, 3), dtype=np.uint8) for i in range(11)]


def assert_same(found: list[Detections], expected: list[Detections]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.labels.tolist() == other.labels.tolist()
        np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=1e-5)
        np.testing.assert_allclose(one.boxes, other.boxes, rtol=0, atol=1e-5)


@pytest.mark.parametrize("key", [("boxes_labels", 1), ("boxes_labels", 2), ("boxes_labels", 0), ("raw", 2), ("raw", 0)])
def test_every_form_and_batch_finds_what_torch_finds(files, template, network, images, key):
    expected = TorchRuntime(network, template, CLASSES)(images)
    assert min(len(found) for found in expected) > 10
    runtime = OnnxRuntime(files[key])
    assert (runtime.classes, runtime.input_size) == (CLASSES, 96)
    assert_same(runtime(images), expected)
    assert_same(list(runtime.stream(images)), expected)


def test_no_image_gives_nothing(files):
    runtime = OnnxRuntime(files["boxes_labels", 2])
    assert runtime([]) == []
    assert list(runtime.stream([])) == []


@pytest.mark.parametrize(("key", "most"), [(("boxes_labels", 1), 3), (("boxes_labels", 0), 24)])
def test_a_stream_takes_only_a_few_images_ahead(files, images, key, most):
    taken = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal taken
        while True:
            taken += 1
            yield images[0]

    stream = OnnxRuntime(files[key]).stream(endless())
    next(stream)
    # Two batches wait while the first is given back: 3 x 1 or 3 x 8 images.
    assert taken == most
    stream.close()
    assert taken == most


def test_an_error_in_the_images_of_a_stream_comes_through(files, images):
    def broken() -> Iterator[np.ndarray]:
        yield from images[:4]
        raise OSError("the camera is gone")

    with pytest.raises(OSError, match="the camera is gone"):
        list(OnnxRuntime(files["boxes_labels", 1]).stream(broken()))


def test_threads_share_a_runtime(files, images):
    runtime = OnnxRuntime(files["boxes_labels", 0])
    alone = [runtime(image) for image in images]

    def work(start: int) -> list[Detections]:
        turned = images[start:] + images[:start]
        return list(runtime.stream(turned)) if start % 2 else [runtime(image) for image in turned]

    with ThreadPoolExecutor(4) as pool:
        for start, found in enumerate(pool.map(work, range(4))):
            assert_same(found, alone[start:] + alone[:start])


def test_the_names_of_the_classes_are_those_in_the_file(files):
    assert OnnxRuntime(files["raw", 0], classes=CLASSES).classes == CLASSES
    with pytest.raises(OptionError, match=r"knows 3 classes; --classes names 2\.$"):
        OnnxRuntime(files["raw", 0], classes=["square", "circle"])


@pytest.mark.parametrize("device", ["cuda", "GPU", "NPU"])
def test_another_device_is_refused(files, device):
    with pytest.raises(OptionError, match=f"--device {device}: ONNX files run on the processor here; export an IR"):
        OnnxRuntime(files["raw", 0], device=device)


@pytest.mark.parametrize("device", ["auto", "AUTO", "cpu", "CPU"])
def test_the_processor_has_these_names(files, device):
    assert OnnxRuntime(files["raw", 0], device=device).input_size == 96


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.onnx: there is no such file\.$"):
        OnnxRuntime(tmp_path / "none.onnx")


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_a_broken_off_file_gives_one_line(files, tmp_path, share, capfd):
    content = files["boxes_labels", 1].read_bytes()
    path = tmp_path / "broken.onnx"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"broken\.onnx: ") as caught:
        OnnxRuntime(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_another_kind_of_file_gives_one_line(tmp_path, capfd):
    path = tmp_path / "text.onnx"
    path.write_text("no model", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"text\.onnx: ONNX Runtime cannot read this model"):
        OnnxRuntime(path)
    assert capfd.readouterr() == ("", "")


def test_without_onnx_runtime_the_way_to_get_it_is_said(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DependencyError, match=r'pip install "multibox\[onnx\]"'):
        OnnxRuntime(files["raw", 0])


def test_torch_and_onnx_are_not_needed(files):
    program = (
        "import sys; sys.modules['torch'] = sys.modules['onnx'] = None\n"
        "import numpy as np\n"
        "from multibox.runtime.onnx_runtime import OnnxRuntime\n"
        "print(len(OnnxRuntime(sys.argv[1])([np.zeros((9, 9, 3), np.uint8)])))"
    )
    done = subprocess.run([sys.executable, "-c", program, files["raw", 0]], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


#   A foreign detector: one box over the left half of the image; its score is the mean of the first channel.


def save_foreign(path: Path, **changes: Any) -> Path:
    values: dict[str, Any] = {
        "image": [1, 3, 64, 64],
        "boxes": ["objects_num", 5],
        "labels": ["objects_num"],
        "names": ("boxes", "labels"),
        "label": 1,
        "corners": [[0, 0, 32, 64]],
    }
    values |= changes
    boxes, labels = values["names"]
    corners = np.array(values["corners"], dtype=np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Slice", ["means", "zero", "one", "one"], ["score"]),  # from, to, axis
        helper.make_node("Concat", ["corners", "score"], [boxes], axis=-1),
        helper.make_node("Constant", [], [labels], value=numpy_helper.from_array(np.array([values["label"]]))),
    ]
    constants = {"zero": np.array([0]), "one": np.array([1]), "corners": corners}
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, values["image"])],
        [
            helper.make_tensor_value_info(boxes, TensorProto.FLOAT, values["boxes"]),
            helper.make_tensor_value_info(labels, TensorProto.INT64, values["labels"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("batch", [1, "batch"])
def test_a_foreign_detector_gets_rgb_divided_by_255(tmp_path, batch):
    runtime = OnnxRuntime(save_foreign(tmp_path / "foreign.onnx", image=[batch, 3, 64, 64]), classes=["a", "b"])
    assert (runtime.classes, runtime.input_size) == (("a", "b"), 64)
    reddish, blue = np.zeros((30, 50, 3), np.uint8), np.zeros((30, 50, 3), np.uint8)
    reddish[..., 2], blue[..., 0] = 51, 255
    found = runtime([reddish, blue])
    assert [one.boxes.tolist() for one in found] == [[[0, 0, 0.5, 1]]] * 2
    assert [one.labels.tolist() for one in found] == [[1], [1]]
    # 51 / 255
    np.testing.assert_allclose([one.scores[0] for one in found], [0.2, 0], atol=1e-6)


def test_a_foreign_detector_needs_the_names_of_its_classes(tmp_path):
    with pytest.raises(CheckpointError, match=r"does not say what its classes are\. Name them with --classes\."):
        OnnxRuntime(save_foreign(tmp_path / "foreign.onnx"))


def test_a_foreign_detector_with_more_classes_than_names_is_refused(tmp_path):
    runtime = OnnxRuntime(save_foreign(tmp_path / "foreign.onnx", label=2), classes=["a", "b"])
    with pytest.raises(OptionError, match=r"found an object of class 2, counted from 0; --classes names 2\."):
        runtime([np.zeros((8, 8, 3), np.uint8)])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"names": ("dets", "labels")}, "no detector with outputs `boxes` and `labels`; it has dets and labels"),
        ({"image": [1, 3, 64, 96]}, "takes 96x64 pixels, not a square image"),
        ({"image": [1, 3, "H", "W"]}, "the size of its input is not fixed. Fix it with: python -m onnxruntime"),
        ({"image": [1, 4, 64, 64]}, "no detector with one planar float32 image"),
        ({"corners": [[0, 0, 32]], "boxes": [1, 4]}, "`boxes` of this detector are [1, 4], not [N, 5] or [B, N, 5]"),
        (
            {"image": [4, 3, 64, 64], "corners": [[0, 0, 32, 64]] * 4},
            "takes 4 images at once and does not say which boxes are whose",
        ),
    ],
)
def test_what_is_no_detector_of_this_kind_is_refused(tmp_path, changes, reason):
    with pytest.raises(CheckpointError) as caught:
        OnnxRuntime(save_foreign(tmp_path / "foreign.onnx", **changes), classes=["a", "b"])
    assert reason in str(caught.value)
