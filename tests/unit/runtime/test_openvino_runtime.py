"""OpenVINO files made by hand, small enough to know what they must find, and everything that can be wrong with one."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino
import pytest
import yaml
from openvino import opset13 as ops

from multibox.errors import CheckpointError, OptionError
from multibox.runtime import contract as metadata
from multibox.runtime import openvino_runtime
from multibox.runtime.contract import ExportInfo, Origin
from multibox.runtime.openvino_runtime import OpenVINORuntime
from multibox.structures import Detections, Image

SIDE = 32
CLASSES = ("cat", "dog")
BOX_PX = (8, 16, 24, 32)
BOX = [0.25, 0.5, 0.75, 1]


def contract(form: str = "boxes_labels", **changes: Any) -> ExportInfo:
    values: dict[str, Any] = {
        "form": form,
        "classes": CLASSES,
        "input_size": SIDE,
        "channel_order": "BGR",
        "input_maximum": 255,
        "batch": 1,
        "precision": "FP32",
        "suggested_threshold": 0.3,
        "min_score": 0.02,
        "iou_threshold": 0.45,
        "max_per_class": 200,
        "max_detections": 200,
        "anchors_px": (((16, 16),), ((8, 8),)),
        "strides": (16, 32),
        "box_variances": (0.1, 0.2),
        "origin": Origin(checkpoint="latest.pth", sha256="00"),
        "versions": {},
        "template": {},
    }
    return ExportInfo(**(values | changes))


def score_of(image: Any, maximum: int) -> Any:
    """(N, 1, 1): the mean of the first channel, as a part of the largest value."""
    first = ops.slice(image, [0], [1], [1], [1])
    return ops.multiply(ops.squeeze(ops.reduce_mean(first, [2, 3], keep_dims=True), [3]), np.float32(1 / maximum))


def boxes_and_labels(image: Any, maximum: int) -> dict[str, Any]:
    """A dog at BOX_PX with a score of how much there is of the first channel, and padding."""
    score = score_of(image, maximum)
    nothing = ops.multiply(score, np.float32(0))
    place = np.array([[[*BOX_PX, 0], [0, 0, 0, 0, 0]]], np.float32)
    weight = np.array([[[0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]], np.float32)
    labels = ops.convert(ops.add(ops.squeeze(nothing, [2]), np.array([[1, -1]], np.float32)), "i64")
    return {"boxes": ops.add(ops.multiply(score, weight), place), "labels": labels}


def detection_rows(image: Any, maximum: int) -> dict[str, Any]:
    """The same dog for a batch of one: a row, and one that ends the list."""
    place = np.array([[[[0, 1, 0, *BOX], [-1, 0, 0, 0, 0, 0, 0]]]], np.float32)
    weight = np.array([[[[0, 0, 1, 0, 0, 0, 0], [0] * 7]]], np.float32)
    return {"detection_out": ops.add(ops.multiply(ops.unsqueeze(score_of(image, maximum), [1]), weight), place)}


def raw(image: Any, maximum: int) -> dict[str, Any]:
    """The same dog as scores of five anchors, of which the last, in the middle of the image, has it."""
    score = score_of(image, maximum)
    weight = np.array([[[0, 0, 0]] * 4 + [[0, 1, -1]]], np.float32)
    deltas = np.zeros((1, 5, 4), np.float32)
    # From the middle (0.5, 0.5), 8 px wide and high, to the middle (0.5, 0.75), 16 px.
    deltas[0, 4] = [0, 8 / 8 / 0.1, np.log(2) / 0.2, np.log(2) / 0.2]
    return {
        "deltas": ops.add(ops.multiply(score, np.float32(0)), deltas),
        "scores": ops.add(ops.multiply(score, weight), np.array([[[0, 0, 1]]], np.float32)),
    }


ENDS = {"boxes_labels": boxes_and_labels, "detection_output": detection_rows, "raw": raw}


def save(model: Any, folder: Path, name: str = "model") -> Path:
    openvino.save_model(model, folder / f"{name}.xml", compress_to_fp16=False)
    return folder / f"{name}.xml"


def named(outputs: dict[str, Any], parameters: Sequence[Any]) -> Any:
    results = []
    for name, node in outputs.items():
        node.output(0).set_names({name})
        results.append(ops.result(node))
    return openvino.Model(results, list(parameters), "hand-made")


def exported(folder: Path, form: str = "boxes_labels", **changes: Any) -> Path:
    info = contract(form, **changes)
    image = ops.parameter([info.batch or -1, 3, SIDE, SIDE], np.float32, name="image")
    model = named(ENDS[form](image, info.input_maximum), [image])
    metadata.write_to_ir(model, info)
    return save(model, folder)


def picture(blue: int, height: int = 20, width: int = 50) -> Image:
    """An image with this much blue, and more green and red."""
    return np.full((height, width, 3), (blue, 251, 252), np.uint8)


def scores(found: Sequence[Detections]) -> list[float]:
    return [round(float(one.scores[0]) * 255, 3) for one in found]


# What a file says of itself


@pytest.mark.parametrize("form", ENDS)
@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_a_file_of_ours_needs_no_settings(form: str, suffix: str, tmp_path: Path) -> None:
    runtime = OpenVINORuntime(exported(tmp_path, form).with_suffix(suffix), precision="f32")
    assert (runtime.classes, runtime.input_size) == (CLASSES, SIDE)
    [found] = runtime([picture(51)])
    np.testing.assert_allclose(found.boxes, [BOX], atol=1e-6)
    np.testing.assert_allclose(found.scores, [0.2], atol=1e-6)  # 51 / 255
    assert found.labels.tolist() == [1]


@pytest.mark.parametrize(
    ("changes", "score"),
    [
        ({}, 51),
        ({"channel_order": "RGB"}, 252),
        ({"input_maximum": 1}, 51),
        ({"channel_order": "RGB", "input_maximum": 1}, 252),
    ],
)
def test_images_are_given_as_the_file_wants_them(changes: dict[str, Any], score: int, tmp_path: Path) -> None:
    runtime = OpenVINORuntime(exported(tmp_path, **changes), precision="f32")
    assert scores(runtime([picture(51)])) == [score]


def test_other_names_for_classes_do_not_change_those_of_the_file(tmp_path: Path) -> None:
    assert OpenVINORuntime(exported(tmp_path), classes=["x", "y"]).classes == CLASSES


def test_a_damaged_description_is_refused(tmp_path: Path) -> None:
    path = exported(tmp_path)
    path.write_text(path.read_text().replace("boxes_labels", "boxes"))
    with pytest.raises(CheckpointError, match="its description of itself is damaged"):
        OpenVINORuntime(path)


def test_a_description_that_the_outputs_contradict_is_refused(tmp_path: Path) -> None:
    path = exported(tmp_path)
    path.write_text(path.read_text().replace('"boxes_labels"', '"raw"'))
    with pytest.raises(CheckpointError, match="it has `boxes`, `labels`"):
        OpenVINORuntime(path)


# Files of others


def original(folder: Path, *, labels: Sequence[int] = (2, 0, -1), batch: int = 1) -> Path:
    """As the original's: boxes [N, 5] and labels [N], no description."""
    image = ops.parameter([batch, 3, SIDE, SIDE], np.float32, name="image")
    nothing = ops.multiply(ops.reduce_mean(image, [0, 1, 2, 3], keep_dims=False), np.float32(0))
    boxes = np.array([[*BOX_PX, 0.9], [0, 0, 32, 16, 0.8], [0, 0, 0, 0, 0]], np.float32)
    outputs = {
        "boxes": ops.add(nothing, boxes),
        "labels": ops.convert(ops.add(nothing, np.array(labels, np.float32)), "i64"),
    }
    return save(named(outputs, [image]), folder)


def test_a_file_of_the_original_is_told_its_classes(tmp_path: Path) -> None:
    runtime = OpenVINORuntime(original(tmp_path), classes=["a", "b", "c"])
    [found] = runtime([picture(0)])
    np.testing.assert_allclose(found.boxes, [BOX, [0, 0, 1, 0.5]], atol=1e-6)
    assert found.labels.tolist() == [2, 0]
    assert runtime.classes == ("a", "b", "c")


def test_a_file_of_the_original_without_class_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"does not say what its classes are\. Name them with --classes"):
        OpenVINORuntime(original(tmp_path))


def test_a_class_beyond_those_named_is_an_error_and_no_wrong_name(tmp_path: Path) -> None:
    runtime = OpenVINORuntime(original(tmp_path), classes=["a", "b"])
    with pytest.raises(OptionError, match="found an object of class 2, counted from 0, but there are 2 classes"):
        runtime([picture(0)])


def test_boxes_of_nobody_knows_which_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="takes 2 images at once and does not say which boxes are whose"):
        OpenVINORuntime(original(tmp_path, batch=2), classes=["a", "b", "c"])


# Files that are no detector


def refused(model: Any, folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        OpenVINORuntime(save(model, folder), classes=CLASSES)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{folder / 'model.xml'}: ")
    return str(caught.value)


def test_a_classifier_is_no_detector(tmp_path: Path) -> None:
    image = ops.parameter([1, 3, SIDE, SIDE], np.float32, name="image")
    model = named({"probability": ops.reduce_mean(image, [2, 3], keep_dims=False)}, [image])
    assert "no detector" in refused(model, tmp_path) and "it has `probability`" in refused(model, tmp_path)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([1, 3, -1, -1], "is not fixed. Export it for one size."),
        ([1, 3, 32, -1], "is not fixed. Export it for one size."),
        ([1, 3, 24, 32], "this detector takes 32x24 pixels, not a square image."),
        ([1, 1, 32, 32], "no detector with one image [N,3,S,S] as input; it takes [1,1,32,32]."),
        ([1, 32, 32, 3], "no detector with one image [N,3,S,S] as input; it takes [1,32,32,3]."),
    ],
)
def test_other_inputs_are_refused(shape: list[int], message: str, tmp_path: Path) -> None:
    image = ops.parameter(shape, np.float32, name="image")
    assert message in refused(named(boxes_and_labels(image, 255), [image]), tmp_path)


@pytest.mark.parametrize("shape", [[8], [1, 3, 32, 32]])
def test_a_second_input_is_refused(shape: list[int], tmp_path: Path) -> None:
    image = ops.parameter([1, 3, SIDE, SIDE], np.float32, name="image")
    other = ops.parameter(shape, np.float32, name="other")
    outputs = boxes_and_labels(image, 255) | {"copy": ops.relu(other)}
    assert "no detector with one image" in refused(named(outputs, [image, other]), tmp_path)


def test_boxes_of_four_columns_are_refused(tmp_path: Path) -> None:
    image = ops.parameter([1, 3, SIDE, SIDE], np.float32, name="image")
    outputs = boxes_and_labels(image, 255)
    outputs["boxes"] = ops.slice(outputs["boxes"], [0], [4], [1], [2])
    assert "this detector's output is [1,2,4], not [B,N,5]." in refused(named(outputs, [image]), tmp_path)


@pytest.mark.parametrize(("missing", "given"), [(".xml", ".bin"), (".bin", ".xml")])
def test_half_a_model_is_refused(missing: str, given: str, tmp_path: Path) -> None:
    path = exported(tmp_path)
    path.with_suffix(missing).unlink()
    with pytest.raises(CheckpointError, match=rf"model\{missing}: there is no such file"):
        OpenVINORuntime(path.with_suffix(given))


# Devices and precision


@pytest.mark.parametrize("device", ["auto", "cpu", "CPU", "AUTO", "AUTO:CPU"])
def test_devices_that_every_machine_has(device: str, tmp_path: Path) -> None:
    assert scores(OpenVINORuntime(exported(tmp_path), device=device, precision="f32")([picture(51)])) == [51]


def test_a_device_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--device toaster: OpenVINO cannot run .* The devices that it finds: .*CPU"):
        OpenVINORuntime(exported(tmp_path), device="toaster")


def test_what_computes_can_be_asked(tmp_path: Path) -> None:
    path = exported(tmp_path)
    assert OpenVINORuntime(path, precision="f32").inference_precision == "float32"
    assert OpenVINORuntime(path).inference_precision in {"float32", "bfloat16", "float16"}
    assert OpenVINORuntime(path, device="AUTO").inference_precision == "unknown"


# Many images

BLUES = [number * 7 for number in range(31)]


@pytest.mark.parametrize("for_many_from", [0, 10, 256])
@pytest.mark.parametrize("batch", [1, 3, 0])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 31])
def test_detections_come_in_the_order_of_the_images(
    batch: int, count: int, for_many_from: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_runtime, "COMPILE_FOR_MANY_FROM", for_many_from)
    runtime = OpenVINORuntime(exported(tmp_path, batch=batch), precision="f32")
    images = [picture(blue) for blue in BLUES[:count]]
    assert scores(runtime(images)) == BLUES[:count]
    assert scores(list(runtime.stream(iter(images)))) == BLUES[:count]


@pytest.mark.parametrize("form", ["detection_output", "raw"])
def test_other_forms_stream_as_well(form: str, tmp_path: Path) -> None:
    blues = BLUES[1:]  # a score of 0 is below the threshold of what is raw
    runtime = OpenVINORuntime(exported(tmp_path, form), precision="f32")
    assert scores(list(runtime.stream(picture(blue) for blue in blues))) == blues


def test_a_stream_takes_only_as_many_images_as_it_can_work_on(tmp_path: Path) -> None:
    taken: list[int] = []

    def endless() -> Iterator[Image]:
        for number in itertools.count():
            taken.append(number)
            yield picture(number % 200)

    results = OpenVINORuntime(exported(tmp_path), precision="f32").stream(endless())
    assert taken == []
    first = len([next(results)] and taken)
    assert scores([next(results) for _ in range(100)]) == [number % 200 for number in range(1, 101)]
    assert len(taken) == first + 100
    # From here on, another number of images is under way.
    assert scores([next(results) for _ in range(300)]) == [number % 200 for number in range(101, 401)]
    under_way = len(taken)
    assert scores([next(results) for _ in range(100)]) == [number % 200 for number in range(401, 501)]
    assert len(taken) == under_way + 100
    results.close()  # type: ignore[attr-defined]


def test_a_stream_that_is_closed_early_leaves_the_runtime_in_order(tmp_path: Path) -> None:
    runtime = OpenVINORuntime(exported(tmp_path), precision="f32")
    for blue in (10, 20, 30):
        results = runtime.stream(itertools.repeat(picture(blue)))
        assert scores([next(results)]) == [blue]
        results.close()  # type: ignore[attr-defined]
    assert scores(runtime([picture(40), picture(50)])) == [40, 50]


def test_an_error_among_the_images_comes_out_and_leaves_the_runtime_in_order(tmp_path: Path) -> None:
    def images() -> Iterator[Image]:
        yield from [picture(1)] * 20
        raise KeyError("the image is gone")

    runtime = OpenVINORuntime(exported(tmp_path), precision="f32")
    with pytest.raises(KeyError, match="the image is gone"):
        list(runtime.stream(images()))
    assert scores(runtime([picture(40), picture(50)])) == [40, 50]


def test_an_error_of_openvino_comes_out_and_leaves_the_runtime_in_order(tmp_path: Path) -> None:
    image = ops.parameter([1, 3, SIDE, SIDE], np.float32, name="image")
    outputs = boxes_and_labels(image, 255)
    # All the blue there can be asks for twice as many boxes as there are, which only shows when it runs.
    whole = ops.convert(ops.floor(ops.reshape(score_of(image, 255), [1], special_zero=False)), "i64")
    shape = ops.concat([ops.add(whole, np.array([1])), np.array([2, 5])], 0)
    outputs["boxes"] = ops.reshape(outputs["boxes"], shape, special_zero=False)
    runtime = OpenVINORuntime(save(named(outputs, [image]), tmp_path), classes=CLASSES, precision="f32")
    with pytest.raises(RuntimeError):
        list(runtime.stream(picture(blue) for blue in [10] * 9 + [255] + [10] * 9))
    assert scores(runtime([picture(40), picture(50)])) == [40, 50]


def test_streams_do_not_disturb_each_other(tmp_path: Path) -> None:
    runtime = OpenVINORuntime(exported(tmp_path), precision="f32")
    one, other = (runtime.stream(picture(blue) for blue in blues) for blues in (BLUES, BLUES[::-1]))
    both = [scores(pair) for pair in zip(one, other, strict=True)]
    assert both == [[a, b] for a, b in zip(BLUES, BLUES[::-1], strict=True)]


def test_threads_share_a_runtime(tmp_path: Path) -> None:
    runtime = OpenVINORuntime(exported(tmp_path), precision="f32")

    def work(start: int) -> bool:
        blues = [(start * 40 + number) % 256 for number in range(60)]
        alone = [scores(runtime([picture(blue)]))[0] for blue in blues]
        return alone == blues == scores(list(runtime.stream(picture(blue) for blue in blues)))

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6))) == [True] * 6


@pytest.mark.skipif(sys.platform == "win32", reason="signals are another matter there")
def test_after_a_runtime_has_gone_a_signal_is_no_crash(tmp_path: Path) -> None:
    # OpenVINO gives the thread a stack for signals, which it could leave behind freed.
    code = (
        "import signal, sys, numpy; from multibox.runtime.openvino_runtime import OpenVINORuntime\n"
        "runtime, other = (OpenVINORuntime(sys.argv[1]) for _ in range(2))\n"
        "for one in (runtime, other): list(one.stream([numpy.zeros((9, 9, 3), numpy.uint8)]))\n"
        "del one, runtime, other\n"
        "signal.signal(signal.SIGINT, lambda *_: print('told')); signal.raise_signal(signal.SIGINT)"
    )
    command = [sys.executable, "-c", code, str(exported(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "told\n")


def test_images_and_detections_are_nobody_elses_memory(tmp_path: Path) -> None:
    runtime = OpenVINORuntime(exported(tmp_path), precision="f32")
    image = picture(100, SIDE, SIDE)  # of the network's size: nothing to resize

    def changing() -> Iterator[Image]:
        for blue in BLUES:
            image[:, :, 0] = blue
            yield image

    assert scores(list(runtime.stream(changing()))) == BLUES


# The command


def test_a_file_is_evaluated_without_torch(tmp_path: Path) -> None:
    path = exported(tmp_path)
    names = [f"{number}.png" for number in range(5)]
    for name in names:
        cv2.imwrite(str(tmp_path / name), picture(200, 40, 80))
    images = [{"id": i, "file_name": name, "width": 80, "height": 40} for i, name in enumerate(names)]
    # BOX of 80 x 40 pixels is the dog's place; COCO says x, y, width, height.
    dogs = [
        {"id": i, "image_id": i, "category_id": 4, "bbox": [20, 20, 40, 20], "area": 800, "iscrowd": 0}
        for i in range(5)
    ]
    categories = [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}]
    (tmp_path / "truth.json").write_text(json.dumps({"images": images, "annotations": dogs, "categories": categories}))
    command = [
        *("eval", "--load-weights", str(path.with_suffix(".bin")), "--test-ann-files", str(tmp_path / "truth.json")),
        *("--test-data-roots", str(tmp_path), "--save-metrics-to", str(tmp_path / "metrics.yaml")),
        *("--save-output-to", str(tmp_path / "drawn"), "--save-detections-to", str(tmp_path / "found.json")),
    ]
    code = f"import sys; sys.modules['torch'] = None; from multibox.cli import main; sys.exit(main({command!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = yaml.safe_load((tmp_path / "metrics.yaml").read_text())
    assert written["metrics"][2]["value"] == 100
    assert written["files"][0]["name"] == "model.bin"
    assert sorted(one.name for one in (tmp_path / "drawn").iterdir()) == names
    found = json.loads((tmp_path / "found.json").read_text())
    assert [(one["image_id"], one["category_id"]) for one in found] == [(i, 4) for i in range(5)]
