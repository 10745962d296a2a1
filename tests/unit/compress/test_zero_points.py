"""INT8 of a network with SiLU, whose values are hardly negative: ranges have a zero point, in each engine the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from torch import nn

from multibox.compress import nncf
from multibox.export import openvino_model
from multibox.export.onnx_model import build_onnx_model
from multibox.export.run import Request, write_files
from multibox.model import quantized
from multibox.model.folding import fold
from multibox.openvino_graph import read_graph
from multibox.runtime.openvino_runtime import OpenVINORuntime
from multibox.weights.checkpoint import Checkpoint, save
from tests.conftest import tiny_yolox_template


@pytest.fixture(scope="module")
def folded(tiny_yolox_model):
    return fold(tiny_yolox_model)


@pytest.fixture(scope="module")
def info(tiny_yolox_model, tmp_path_factory):
    """What the raw file of the network says of itself."""
    folder = tmp_path_factory.mktemp("export")
    made = Checkpoint(tiny_yolox_model.state_dict(), ("square", "circle"), tiny_yolox_template())
    save(folder / "latest.pth", made)
    return write_files(made, folder / "latest.pth", folder, Request(raw=True))


@pytest.fixture(scope="module")
def images():
    """Soft noise, as the network takes it: raw BGR."""
    coarse = np.random.default_rng(0).integers(0, 256, (8, 3, 12, 12)).astype(np.float32)
    return [image[None] for image in coarse.repeat(8, axis=2).repeat(8, axis=3)]


@pytest.fixture(scope="module")
def quantised_ir(info, images):
    return nncf.quantize(read_graph(info[2].path), images, count=6, thorough=False)


@pytest.fixture(scope="module")
def result(quantised_ir, folded, info):
    """The network with rounded weights, and the scales."""
    return nncf.read_scales(quantised_ir, folded, info[2].info)


@pytest.fixture(scope="module")
def rebuilt(result, info):
    """The file that is made of what a checkpoint keeps."""
    corrected, scales = result
    kept = quantized.scales_from_plain(quantized.scales_to_plain(scales))
    return openvino_model.convert_network(quantized.apply(corrected, kept), info[2].info)


def compiled(model):
    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def deltas_of(model, images):
    exact = compiled(model)
    return np.concatenate([np.array(exact(image)[exact.output(0)]) for image in images])


def in_torch(network, images):
    with torch.inference_mode():
        return network(torch.from_numpy(np.concatenate(images)[:, ::-1] / np.float32(255))).deltas.numpy()


def test_every_convolution_and_every_value_between_them_is_rounded(result, folded):
    corrected, scales = result
    places = Counter(place for _, place in scales)
    assert places["weight"] == sum(isinstance(module, nn.Conv2d) for module in folded.modules()) == 113
    assert places["input"] == 1 and places["summand"] == 0
    rounded = {name for name, place in scales if place == "output"}
    assert rounded >= {name for name, module in folded.named_modules() if isinstance(module, nn.SiLU)}
    # Scores are no values between convolutions: with 8 bits, faint ones would be equal.
    assert all(corrected.get_submodule(name) for name in rounded)


def test_weights_stay_near_those_given_within_their_integers(result, folded):
    """Else training in 8 bits would move all weights by half a step before one integer changes."""
    corrected, scales = result
    for (name, place), scale in scales.items():
        if place == "weight":
            factor = 1 if scale.factor is None else scale.factor.reshape(1, -1, 1, 1)
            step = scale.step.reshape(-1, 1, 1, 1)
            found, given = (net.get_submodule(name).weight * factor / step for net in (corrected, folded))
            assert bool(((found - found.round()).abs() < 0.491).all()), name
            # Where the nearest integer was taken, the weight is the one that was given.
            is_nearest = (given - given.round()).abs() < 0.48
            stays = is_nearest & (found.round() == given.round())
            assert torch.allclose(found[stays], given[stays], atol=0.001), name
            assert float(stays.float().mean()) > 0.3, name


def test_what_silu_gives_has_integers_for_what_is_there(result):
    for (name, place), scale in result[1].items():
        if place == "output" and name.endswith(".depthwise.activ"):
            assert scale.zero is not None and (scale.low, scale.high) == (0, 255)
            # SiLU's minimum is -0.278; half an integer is lost to rounding the zero.
            largest = 1 if scale.factor is None else scale.factor.max()
            assert bool((-scale.zero * scale.step >= -0.279 * largest - scale.step / 2).all()), name


def test_who_reads_what_was_evened_out_makes_up_for_it(result):
    scales = result[1]
    factors = {name: scale.factor for (name, place), scale in scales.items() if place == "output"}
    heads = [f"bbox_head.levels.{level}" for level in range(3)]
    towers = {f"{head}.box_tower.1.pointwise.activ": (f"{head}.boxes", f"{head}.objectness") for head in heads}
    evened = {tower: readers for tower, readers in towers.items() if factors[tower] is not None}
    assert evened
    for tower, readers in evened.items():
        for reader in readers:
            assert torch.allclose(scales[reader, "weight"].factor * factors[tower], torch.ones(64))
    kinds = {name for name, factor in factors.items() if factor is not None}
    assert all(name.endswith(".activ") for name in kinds)


def test_every_convolution_computes_in_8_bits(rebuilt, quantised_ir):
    for model in (rebuilt, quantised_ir):
        nodes = [node.get_rt_info() for node in compiled(model).get_runtime_model().get_ops()]
        kinds = [str(one["runtimePrecision"].value) for one in nodes if "Convolution" in str(one["layerType"].value)]
        assert kinds == ["u8"] * 113
        # Evening out is part of the kernels; alone in a network it is eltwise.
        assert not any(str(one["layerType"].value) == "Eltwise" for one in nodes)


def test_all_engines_are_nearer_to_each_other_than_to_floating_point(
    result, folded, rebuilt, quantised_ir, info, images
):
    network = quantized.apply(*result)
    floating, simulated = in_torch(folded, images), in_torch(network, images)
    rounding = np.abs(simulated - floating).mean()
    assert 0 < rounding < 0.2 * floating.std()
    onnx_info = next(file.info for file in info if file.name == "raw/model.onnx")
    session = onnxruntime.InferenceSession(build_onnx_model(network, onnx_info).SerializeToString())
    of_onnx = np.concatenate(
        [session.run(["deltas"], {"image": image[:, ::-1] / np.float32(255)})[0] for image in images]
    )
    for found in (deltas_of(rebuilt, images), deltas_of(quantised_ir, images), of_onnx):
        assert np.abs(found - simulated).mean() < 0.8 * rounding


def test_a_finished_file_is_quantised_up_to_its_end(info, images, tmp_path):
    file = info[0]
    model = nncf.quantize_file(read_graph(file.path), images, count=4, thorough=False)
    openvino.save_model(model, tmp_path / "model.xml", compress_to_fp16=False)
    runtime = OpenVINORuntime(tmp_path / "model.xml", precision="f32")
    assert runtime.info.precision == "INT8" and runtime.info.anchor_offset == 0
    before = OpenVINORuntime(file.path, precision="f32")
    picture = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    # Scores of a network without training lie close together; their mean is what tells.
    assert runtime(picture).scores[:50].mean() == pytest.approx(before(picture).scores[:50].mean(), rel=0.1)
