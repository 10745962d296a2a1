"""Measuring speed: what a result holds, and what is refused. Nothing here says how fast anything is."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import openvino
import pytest
from openvino import opset8 as ops
from rich.console import Console

from multibox import config
from multibox.errors import CheckpointError, DataError, OptionError
from multibox.evaluate import speed as bench
from multibox.evaluate import speed_table
from multibox.evaluate.speed_table import SpeedResult, SpeedRow, Spread
from tests.written_files import assert_as_documented

TINY = 0.04  # seconds for each row: one round of turns of 10 ms
ONE = Spread(1.0, 1.0, 1.0)
NUM_ANCHORS, NUM_OUTPUTS = 2, 3  # two classes and background


def write_ir(folder: Path, name: str, *, size: int = 32) -> Path:
    """A detector of two anchors: one convolution over the whole picture, and DetectionOutput."""
    image = ops.parameter([1, 3, size, size], np.float32, name="image")
    rng = np.random.default_rng(0)
    kernels = rng.normal(0, 1e-4, (NUM_ANCHORS * (4 + NUM_OUTPUTS), 3, size, size)).astype(np.float32)
    features = ops.convolution(image, kernels, [1, 1], [0, 0], [0, 0], [1, 1])
    flat = ops.reshape(features, [1, -1], special_zero=False)
    deltas, logits = ops.variadic_split(flat, 1, [NUM_ANCHORS * 4, NUM_ANCHORS * NUM_OUTPUTS]).outputs()
    scores = ops.softmax(ops.reshape(logits, [1, NUM_ANCHORS, NUM_OUTPUTS], special_zero=False), 2)
    anchors = np.array([0.1, 0.1, 0.4, 0.4, 0.5, 0.5, 0.9, 0.9], dtype=np.float32)
    variances = np.array([0.1, 0.1, 0.2, 0.2] * NUM_ANCHORS, dtype=np.float32)
    detection = ops.detection_output(
        deltas,
        ops.reshape(scores, [1, -1], special_zero=False),
        np.stack([anchors, variances])[None],
        {
            "background_label_id": 2,
            "top_k": 2,
            "keep_top_k": [4],
            "code_type": "caffe.PriorBoxParameter.CENTER_SIZE",
            "share_location": True,
            "nms_threshold": 0.45,
            "confidence_threshold": 0.02,
            "normalized": True,
        },
    )
    path = folder / f"{name}.xml"
    openvino.save_model(openvino.Model([detection], [image]), path, compress_to_fp16=False)
    return path


def write_onnx(path: Path, *, batch: int = 1) -> Path:
    """A detector that finds two boxes on any picture."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    boxes = np.tile(np.array([[1, 1, 9, 9, 0.9], [4, 4, 30, 30, 0.5]], dtype=np.float32), (batch, 1, 1))
    constants = {"nothing": np.float32(0), "two": boxes, "found": np.tile(np.array([0, 1]), (batch, 1))}
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["two", "zero"], ["boxes"]),
        helper.make_node("Identity", ["found"], ["labels"]),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [batch, 3, 32, 32])],
        [
            helper.make_tensor_value_info("boxes", onnx.TensorProto.FLOAT, [batch, 2, 5]),
            helper.make_tensor_value_info("labels", onnx.TensorProto.INT64, [batch, 2]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def image_files(folder: Path) -> list[Path]:
    rng = np.random.default_rng(1)
    paths = [folder / f"{number}.jpg" for number in range(3)]
    for path in paths:
        assert cv2.imwrite(str(path), rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    return paths


@pytest.fixture(scope="module")
def files(folder: Path) -> list[Path]:
    return [write_ir(folder, "first"), write_ir(folder, "second", size=64)]


@pytest.fixture(scope="module")
def result(files: list[Path], image_files: list[Path]) -> SpeedResult:
    """Two files of different input sizes, each in both precisions."""
    return bench.compare_speed(files, image_files=image_files, devices=["cpu"], seconds=TINY)


def figures(row: SpeedRow) -> list[float]:
    speeds = [row.network, row.whole_way]
    spreads = [row.whole_way_share, *(s.latency_ratio for s in speeds), *(s.throughput_ratio for s in speeds)]
    return [
        *(value for s in speeds for value in (s.p50_ms, s.p95_ms, s.images_per_second)),
        *(value for s in spreads for value in (s.median, s.lower, s.upper)),
        *(row.size_mb, row.processor_ms.reading, row.processor_ms.resizing, row.processor_ms.network),
    ]


def printed(result: SpeedResult, width: int = 100) -> str:
    text = io.StringIO()
    console = Console(width=width, file=text)
    console.print(speed_table.speed_tables(result, width=width))
    console.print(speed_table.speed_summary(result))
    return text.getvalue() + "\n".join(speed_table.explain_speeds(result))


def test_no_figure_is_cut_on_a_narrow_terminal(result: SpeedResult) -> None:
    narrow = printed(result, 80)
    assert "…" not in narrow
    assert speed_table.QUARTILES not in narrow.partition("Ratios:")[0]
    assert speed_table.QUARTILES in printed(result)


def test_each_ir_has_a_row_for_each_precision_in_the_order_of_the_files(result: SpeedResult, files: list[Path]) -> None:
    found = [(row.file, row.device, row.precision_hint, row.input_size) for row in result.rows]

    assert found == [
        (str(files[0]), "CPU", "f32", 32),
        (str(files[0]), "CPU", "default", 32),
        (str(files[1]), "CPU", "f32", 64),
        (str(files[1]), "CPU", "default", 64),
    ]


def test_rows_are_compared_with_the_first_file_in_the_same_precision(result: SpeedResult) -> None:
    assert [row.compared_with for row in result.rows] == [0, 1, 0, 1]


def test_ratios_of_the_first_file_are_exactly_one(result: SpeedResult) -> None:
    for row in result.rows[:2]:
        for speed in (row.network, row.whole_way):
            assert (speed.latency_ratio, speed.throughput_ratio) == (ONE, ONE)


def test_figures_are_positive_and_finite(result: SpeedResult) -> None:
    for row in result.rows:
        assert all(value > 0 and math.isfinite(value) for value in figures(row)), row
        assert row.network.p50_ms <= row.network.p95_ms
        assert row.whole_way_share.lower <= row.whole_way_share.median <= row.whole_way_share.upper
        assert math.isfinite(row.processor_ms.rest)


def test_the_float32_hint_computes_in_float32(result: SpeedResult) -> None:
    assert [row.computes_in for row in result.rows if row.precision_hint == "f32"] == ["f32", "f32"]


def test_ratio_is_above_one_where_a_model_is_faster() -> None:
    # 4 ms against 2 ms is twice as fast, in each of two rounds; so is 500 against 250 images per second.
    slow = bench._Samples([[4.0, 4.0], [8.0]], [250.0, 125.0])
    fast = bench._Samples([[2.0, 2.0], [4.0]], [500.0, 250.0])

    speed = bench._speed(fast, slow)

    assert speed.latency_ratio == speed.throughput_ratio == Spread(2.0, 2.0, 2.0)
    assert speed.p50_ms == 2.0  # the middle one of 2, 2, 4
    assert speed.images_per_second == 375.0


def test_ratio_of_a_round_does_not_see_how_fast_the_machine_is_in_others() -> None:
    # The machine is three times as slow in the second round: 1.25 in both.
    one = bench._Samples([[8.0], [24.0], [8.0]], [125.0, 125.0 / 3, 125.0])
    other = bench._Samples([[10.0], [30.0], [10.0]], [100.0, 100.0 / 3, 100.0])

    speed = bench._speed(one, other)

    for value in (speed.latency_ratio, speed.throughput_ratio):
        assert (value.median, value.lower, value.upper) == pytest.approx((1.25, 1.25, 1.25))


def test_checkpoint_is_measured_beside_an_ir(
    files: list[Path], image_files: list[Path], folder: Path, tiny_template_file: Path
) -> None:
    torch = pytest.importorskip("torch")
    from multibox.model import ssd
    from multibox.weights import checkpoint

    torch.set_num_threads(1)
    template = config.load_template(tiny_template_file)
    model = ssd.build_ssd(template, num_classes=1)
    saved = folder / "model.pth"
    checkpoint.save(saved, checkpoint.Checkpoint(model.state_dict(), ("square",), template))

    found = bench.compare_speed([files[0], saved], image_files=image_files, precisions=["default"], seconds=TINY)

    assert [row.file for row in found.rows] == [str(files[0]), str(saved)]
    # The first file was not measured in float32: its first row has to serve.
    assert (found.rows[1].precision_hint, found.rows[1].compared_with) == ("f32", 0)
    assert all(value > 0 for value in figures(found.rows[1]))


def test_onnx_file_is_measured_beside_an_ir(files: list[Path], image_files: list[Path], tmp_path: Path) -> None:
    model = write_onnx(tmp_path / "model.onnx")

    found = bench.compare_speed(
        [files[0], model], image_files=image_files, precisions=["f32"], seconds=TINY, classes=["square", "circle"]
    )

    assert [(row.file, row.compared_with) for row in found.rows] == [(str(files[0]), 0), (str(model), 0)]
    assert all(value > 0 for value in figures(found.rows[1]))


def test_onnx_file_for_several_images_at_a_time_is_refused(image_files: list[Path], tmp_path: Path) -> None:
    model = write_onnx(tmp_path / "model.onnx", batch=4)

    with pytest.raises(OptionError, match=r"model\.onnx: .* 4 images at a time"):
        bench.compare_speed([model], image_files=image_files, seconds=TINY, classes=["square", "circle"])


def test_public_ir_is_measured(shared: Path) -> None:
    name = "person-vehicle-bike-detection-2000"
    path = shared / "pretrained" / name / "FP16-INT8" / f"{name}.bin"

    found = bench.compare_speed(
        [path], image_files=bench.find_image_files(), devices=["CPU"], precisions=["f32"], seconds=TINY
    )

    assert found.rows[0].input_size == 256
    assert found.rows[0].computes_in.split(", ")[0] == "i8"
    assert found.images_px == (640, 360)


def test_progress_counts_the_rounds(files: list[Path], image_files: list[Path]) -> None:
    done: list[int] = []

    bench.compare_speed(files[:1], image_files=image_files, precisions=["f32"], seconds=TINY, progress=done.append)

    assert sum(done) == bench.num_rounds(TINY) == 1
    # Four turns of 0.3 s for each row in a round: 12 s / 1.2 s.
    assert bench.num_rounds(12) == 10


def test_result_survives_json(result: SpeedResult) -> None:
    plain = speed_table.speeds_to_plain(result)

    assert json.loads(json.dumps(plain)) == plain
    assert len(plain["rows"]) == 4
    assert plain["settings"]["num_rounds"] == 1
    assert plain["machine"]["cores"] >= plain["machine"]["usable_cores"] >= 1
    assert plain["versions"]["openvino"]
    assert plain["date"][:2] == "20"


def test_the_page_explains_every_key(result: SpeedResult, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(speed_table.speeds_to_plain(result)))
    assert_as_documented(file, "What bench writes")


def test_table_fits_100_columns_and_says_that_input_sizes_differ(result: SpeedResult) -> None:
    text = printed(result)

    assert max(len(line) for line in text.splitlines() if line.startswith(" ")) <= 100
    assert "first.xml" in text and "second.xml" in text
    assert "inputs of different sizes" in text


def test_table_of_one_file_does_not_speak_of_different_sizes(result: SpeedResult) -> None:
    one = SpeedResult(result.rows[:1], 1, TINY, 3, (80, 60), 1)

    assert "inputs of different sizes" not in printed(one)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a/model.xml"], ["model.xml"]),
        (["a/model.xml", "b/model.xml"], ["a/model.xml", "b/model.xml"]),
        (["a/alt/model.xml", "b/alt/model.xml", "c.pth"], ["a/alt/model.xml", "b/alt/model.xml", "c.pth"]),
        (["model.xml", "b/model.xml"], ["model.xml", "b/model.xml"]),
        (["model.xml", "model.xml"], ["model.xml", "model.xml"]),
    ],
)
def test_short_names_tell_files_apart(paths: list[str], expected: list[str]) -> None:
    assert [speed_table.short_name(path, paths) for path in paths] == expected


def test_unknown_device_is_refused_with_those_that_there_are(files: list[Path], image_files: list[Path]) -> None:
    with pytest.raises(OptionError, match=r"--device ABACUS: .* only .*CPU"):
        bench.compare_speed(files, image_files=image_files, devices=["abacus"], seconds=TINY)


def test_without_wish_all_devices_are_taken() -> None:
    assert bench.find_devices() == bench.find_devices([]) == openvino.Core().available_devices


@pytest.mark.parametrize("missing", ["paths", "pictures", "precisions"])
def test_nothing_to_measure_is_refused(files: list[Path], image_files: list[Path], missing: str) -> None:
    given: dict[str, Sequence[object]] = {"paths": files, "pictures": image_files, "precisions": ["f32"]} | {
        missing: []
    }

    with pytest.raises(OptionError, match="nothing to measure"):
        bench.compare_speed(given["paths"], image_files=given["pictures"], precisions=given["precisions"], seconds=TINY)


def test_file_that_is_no_model_is_refused(files: list[Path], image_files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.xml"):
        bench.compare_speed([files[0], tmp_path / "gone.xml"], image_files=image_files, seconds=TINY)


def test_broken_picture_is_refused(files: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"this is no picture")

    with pytest.raises(DataError, match=r"broken\.jpg"):
        bench.compare_speed(files[:1], image_files=[broken], precisions=["f32"], seconds=TINY)


def test_pictures_of_a_folder_are_found_below_it_and_spread_evenly(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for number in range(97):
        (tmp_path / "deep" / f"{number:03d}.JPG").touch()
    (tmp_path / "notes.txt").touch()

    found = bench.find_image_files(tmp_path)

    # 97 pictures are more than twice 48: every third.
    assert [path.name for path in found[:3]] == ["000.JPG", "003.JPG", "006.JPG"]
    assert len(found) == 33


def test_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="there is no image"):
        bench.find_image_files(tmp_path)


def test_pictures_come_in_order_as_squares(image_files: list[Path]) -> None:
    squares = list(bench.read_ahead([*image_files, *image_files], size=16, num_threads=2))

    assert [square.shape for square in squares] == [(16, 16, 3)] * 6
    assert all(np.array_equal(a, b) for a, b in zip(squares[:3], squares[3:], strict=True))
    assert not np.array_equal(squares[0], squares[1])
