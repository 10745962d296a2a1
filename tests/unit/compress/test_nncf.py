"""INT8: what NNCF decides comes back to PyTorch, and files made from it compute in 8 bits."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import openvino
import pytest
import torch

from multibox import config
from multibox.compress import nncf
from multibox.errors import CheckpointError, DataError
from multibox.export import openvino_model
from multibox.model import quantized
from multibox.model.folding import fold
from multibox.runtime import contract
from multibox.runtime.contract import ExportInfo, Origin

SIDE = 96
FIRST = "backbone.features.init_block.conv"
NUM_CONVOLUTIONS = 60
# The image, 35 activations of the backbone and 4 of the heads, 17 blocks and 10 shortcuts: 1 + 35 + 4 + 17 + 10.
NUM_VALUES = 67


@pytest.fixture(scope="module")
def folded(tiny_model):
    return fold(tiny_model)


@pytest.fixture(scope="module")
def info(tiny_template_file) -> ExportInfo:
    template = config.load_template(tiny_template_file)
    return ExportInfo(
        form="raw",
        classes=("square", "circle"),
        input_size=SIDE,
        channel_order="BGR",
        input_maximum=255,
        batch=1,
        precision="FP32",
        suggested_threshold=0.3,
        min_score=0.02,
        iou_threshold=0.45,
        max_per_class=200,
        max_detections=200,
        anchors_px=template.model.anchors_px,
        strides=(16, 32),
        box_variances=(0.1, 0.2),
        origin=Origin(checkpoint="latest.pth", sha256="00"),
        versions={},
        template={"name": "tiny"},
    )


@pytest.fixture(scope="module")
def converted(folded, info):
    return openvino_model.convert_network(folded, info)


@pytest.fixture(scope="module")
def images():
    """Soft noise, as the network takes it: raw BGR."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (8, 3, 12, 12)).astype(np.float32)
    return [image[None] for image in coarse.repeat(8, axis=2).repeat(8, axis=3)]


@pytest.fixture(scope="module")
def quantised_ir(converted, images):
    return nncf.quantize(converted, iter(images), count=6, thorough=False)


@pytest.fixture(scope="module")
def result(quantised_ir, folded, info):
    return nncf.read_scales(quantised_ir, folded, info)


@pytest.fixture(scope="module")
def rebuilt(result, info):
    """The converted network again, from the weights and scales that a checkpoint keeps."""
    return openvino_model.convert_network(quantized.apply(*result), info)


def run(model, images):
    exact = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [np.concatenate(values) for values in zip(*([*map(np.array, exact(one).values())] for one in images))]  # noqa: B905


def kernels(model) -> Counter[str]:
    """What the convolutions of the compiled model compute in."""
    exact = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    nodes = [node.get_rt_info() for node in exact.get_runtime_model().get_ops()]
    return Counter(str(one["runtimePrecision"].value) for one in nodes if "Convolution" in str(one["layerType"].value))


def count(model, kind: str) -> int:
    return sum(node.get_type_name() == kind for node in model.get_ops())


def answers(network, images):
    rgb = torch.from_numpy(np.concatenate(images)[:, ::-1] / np.float32(255))
    with torch.inference_mode():
        raw = network(rgb)
    return raw.deltas.numpy(), raw.logits.softmax(-1).numpy()


def test_every_convolution_and_every_value_between_them_is_rounded(result):
    _, scales = result
    places = Counter(place for _, place in scales)
    assert places == {"weight": NUM_CONVOLUTIONS, "input": 1, "summand": 10, "output": NUM_VALUES - 11}


def test_the_image_is_exact(result, rebuilt):
    _, scales = result
    assert (scales[FIRST, "input"].low, scales[FIRST, "input"].high) == (0, 255)
    assert scales[FIRST, "input"].step.tolist() == torch.tensor([1 / 255]).tolist()
    (image,) = rebuilt.get_parameters()
    (target,) = image.output(0).get_target_inputs()
    limits = [target.get_node().input_value(i).get_node().get_data().flatten().tolist() for i in (1, 2, 3, 4)]
    assert limits == [[0], [255], [0], [255]]


def test_weights_come_back_as_integers_times_their_steps(result, folded):
    corrected, scales = result
    for (name, place), scale in scales.items():
        if place == "weight":
            integers = corrected.get_submodule(name).weight / scale.step.reshape(-1, 1, 1, 1)
            assert torch.allclose(integers, integers.round(), atol=1e-4), name
            given = folded.get_submodule(name).weight
            largest = given.abs().amax(dim=(1, 2, 3))
            # Half of an integer of the widest range, at most; a step is a 127th, or for the first one a 63rd.
            error = (corrected.get_submodule(name).weight - given).abs().amax(dim=(1, 2, 3))
            assert bool((error <= 0.51 * largest / 63).all()), name


def test_reading_changes_no_network_that_is_given(result, folded, converted, tiny_model):
    corrected, _ = result
    again = fold(tiny_model).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in folded.state_dict().items())
    assert list(corrected.state_dict()) == list(again)
    assert count(converted, "FakeQuantize") == 0


def test_pytorch_and_both_files_are_nearer_to_each_other_than_to_floating_point(
    result, folded, rebuilt, quantised_ir, images
):
    floating = answers(folded, images)[0]
    deltas, probabilities = answers(quantized.apply(*result), images)
    of_file, scores_of_file = run(rebuilt, images)
    of_nncf, _ = run(quantised_ir, images)
    rounding = np.abs(deltas - floating).mean()
    assert 0 < rounding < 0.2 * floating.std()
    assert np.abs(of_file - deltas).mean() < 0.8 * rounding
    assert np.abs(of_nncf - of_file).mean() < 0.5 * rounding
    assert np.abs(scores_of_file - probabilities).mean() < 0.02


def test_the_first_layers_agree_to_the_last_integer(result, rebuilt, images):
    network = quantized.apply(*result)
    name = "backbone.features.stage2.unit2"  # the end of the first shortcut
    step = result[1][name, "output"].step.item()
    seen = []
    network.get_submodule(name).register_forward_hook(lambda _, __, output: seen.append(output.numpy() / step))
    answers(network, images)
    (last,) = (
        node
        for node in rebuilt.get_ops()
        if node.get_type_name() == "FakeQuantize" and node.get_friendly_name().startswith(f"{name}.output_quantizer/")
    )
    end = openvino.opset13.add(last.output(0), np.float32(0))
    (found,) = run(openvino.Model([openvino.opset13.result(end)], rebuilt.get_parameters(), "begin"), images)
    differing = np.abs(found / step - seen[0]) > 0.5
    assert differing.mean() < 0.002


def test_every_convolution_computes_in_8_bits(rebuilt, quantised_ir):
    assert kernels(rebuilt) == kernels(quantised_ir) == {"u8": NUM_CONVOLUTIONS}


def test_files_are_a_quarter_of_the_size(rebuilt, converted, tmp_path):
    sizes = {}
    for name, model in (("float", converted), ("int8", rebuilt)):
        openvino.save_model(model, tmp_path / f"{name}.xml", compress_to_fp16=False)
        sizes[name] = (tmp_path / f"{name}.bin").stat().st_size
    assert sizes["int8"] < 0.3 * sizes["float"]
    stored = openvino.Core().read_model(tmp_path / "int8.xml")
    integers = [node for node in stored.get_ops() if node.get_type_name() == "Constant"]
    assert sum(node.get_element_type() == openvino.Type.i8 for node in integers) == NUM_CONVOLUTIONS
    assert count(stored, "BatchNormInference") == 0


def test_equal_input_gives_equal_scales_and_biases(converted, folded, info, images, result):
    again = nncf.read_scales(nncf.quantize(converted, images, count=6, thorough=False), folded, info)
    for key, value in again[0].state_dict().items():
        assert torch.equal(value, result[0].state_dict()[key]), key
    assert all(torch.equal(scale.step, result[1][key].step) for key, scale in again[1].items())


def test_one_image_is_enough(converted, folded, info, images):
    made = nncf.quantize(converted, images[:1], count=64, thorough=False)
    _, scales = nncf.read_scales(made, folded, info)
    assert Counter(place for _, place in scales)["weight"] == NUM_CONVOLUTIONS


def test_without_images_nothing_is_quantised(converted):
    with pytest.raises(DataError, match="no image to measure"):
        nncf.quantize(converted, [], count=64, thorough=False)


@pytest.fixture(scope="module")
def of_any_batch(folded, info):
    return openvino_model.convert_network(folded, msgspec.structs.replace(info, batch=0))


@pytest.mark.parametrize(("form", "batch"), [("boxes_labels", 1), ("detection_output", 1), ("boxes_labels", 0)])
def test_a_finished_file_is_quantised_up_to_its_end(converted, of_any_batch, info, images, form, batch, tmp_path):
    described = msgspec.structs.replace(info, form=form, batch=batch)
    network = converted if batch else of_any_batch
    openvino.save_model(openvino_model.finish(network, described), tmp_path / "float.xml", compress_to_fp16=True)
    opened = openvino.Core().read_model(tmp_path / "float.xml")
    model = nncf.quantize_file(opened, images, count=4, thorough=False)
    openvino.save_model(model, tmp_path / "int8.xml", compress_to_fp16=False)
    stored = openvino.Core().read_model(tmp_path / "int8.xml")
    expected = msgspec.structs.replace(described, precision="INT8")
    assert contract.read_from_ir(stored, source="int8.xml") == expected
    assert stored.get_rt_info(["model_info", "labels"]).value == "square circle"
    assert count(stored, "FakeQuantize") == NUM_VALUES and kernels(stored) == {"u8": NUM_CONVOLUTIONS}
    # Half precision has two bytes.
    assert (tmp_path / "int8.bin").stat().st_size < 0.6 * (tmp_path / "float.bin").stat().st_size
    before, after = (run(one, images[:1]) for one in (opened, stored))
    assert [value.shape for value in before] == [value.shape for value in after]


def test_a_batch_of_a_file_is_filled_up(of_any_batch, images):
    model = of_any_batch.clone()
    model.reshape([3, 3, SIDE, SIDE])
    found = nncf.quantize_file(model, images, count=4, thorough=False)
    assert count(found, "FakeQuantize") == NUM_VALUES and found.input(0).shape[0] == 3


def test_a_file_is_not_quantised_twice(quantised_ir, images):
    with pytest.raises(CheckpointError, match="in 8 bits already"):
        nncf.quantize_file(quantised_ir, images, count=4, thorough=False)


SCRIPT = """
import importlib.util, sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Without())
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in {blocked} else find_spec(name, package)
import numpy as np, openvino
from multibox.errors import DependencyError
from multibox.compress import nncf as quantization
model = openvino.Core().read_model({path!r})
try:
    quantization.quantize_file(model, [np.zeros((1, 3, 96, 96), np.float32)], count=1, thorough=False)
    telemetry = sys.modules["nncf.telemetry.wrapper"].telemetry
    print(type(telemetry).__name__)
except DependencyError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def float_file(converted, info, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("file") / "model.xml"
    openvino.save_model(openvino_model.finish(converted, info), path, compress_to_fp16=False)
    return path


def said_without(blocked: set[str], path: Path) -> tuple[str, str]:
    script = SCRIPT.format(blocked=blocked, path=str(path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout, done.stderr


def test_a_file_is_quantised_without_torch_in_silence_and_nothing_is_reported(float_file):
    # NNCF's name for "nothing is sent" is a mock; the one that sends is called NNCFTelemetry.
    assert said_without({"torch", "onnx"}, float_file) == ("MagicMock\n", "")


def test_without_nncf_it_is_said_what_to_install(float_file):
    said, _ = said_without({"nncf"}, float_file)
    assert said == 'INT8 needs NNCF. Install it with: pip install "multibox[int8]"\n'
