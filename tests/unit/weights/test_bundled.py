"""Files of starting weights hold a network but its classes."""

from __future__ import annotations

import json

import pytest
import torch

from multibox import config
from multibox.config import bundled_templates
from multibox.errors import CheckpointError
from multibox.model import ssd
from multibox.model.yolox import YOLOX
from multibox.weights.bundled import KINDS, bundled_file, bundled_files, coco_detector, read_bundled, write_bundled
from multibox.weights.coco_classes import COCO_CLASSES
from multibox.weights.start import open_starting_point
from multibox.weights.transfer import transfer

ANCHORS = (((10.0, 20.5),) * 4, ((90.0, 60.0),) * 5)


@pytest.fixture(scope="module")
def template():
    return config.load_template(bundled_templates()["mobilenet_v2-2s_ssd-256x256"])


@pytest.fixture(scope="module")
def network(template):
    torch.manual_seed(0)
    return ssd.build_ssd(template, num_classes=3)


@pytest.fixture
def file(network, tmp_path):
    path = tmp_path / "my weights.safetensors"
    write_bundled(path, network.state_dict(), anchors_px=ANCHORS, num_classes=3, input_size=256, origin="a test")
    return path


def test_what_is_written_comes_back_but_for_the_classes(network, file):
    found = read_bundled(file)
    assert (found.anchors_px, found.input_size, found.origin) == (ANCHORS, 256, "a test")
    for key, value in network.state_dict().items():
        is_class_layer = key.startswith("bbox_head.cls_convs") and key.split(".")[3] == "3"
        # 3 classes and background, which is each anchor's last row.
        kept = value[3::4] if is_class_layer else value
        assert torch.equal(found.weights[key], kept.half().float() if kept.ndim == 4 else kept), key


def test_a_run_gets_everything_but_the_rows_of_its_classes(network, file, template):
    start = open_starting_point(file, config.changed(template, {"input.size": 512}))
    assert start.classes is None
    assert not start.is_folded
    assert start.anchors_px == (((20.0, 41.0),) * 4, ((180.0, 120.0),) * 5)
    target = ssd.build_ssd(template, num_classes=1)
    fresh = target.bbox_head.cls_convs[0][3].bias.clone()
    transfer(target, ["thing"], start.weights, start.classes)
    assert torch.equal(target.bbox_head.cls_convs[0][3].bias[::2], fresh[::2])
    given = network.bbox_head.cls_convs[0][3].weight[3::4].half().float()
    assert torch.equal(target.bbox_head.cls_convs[0][3].weight[1::2], given)


def test_other_files_are_refused_in_one_line(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"other\.safetensors: these are no weights of multibox"):
        read_bundled(tmp_path / "other.safetensors")
    for name in ("broken", "absent"):
        with pytest.raises(CheckpointError, match=rf"{name}\.safetensors: cannot read the weights"):
            read_bundled(tmp_path / f"{name}.safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_the_package_has_weights_for_each_template_and_they_fit(template, kind):
    assert list(bundled_files(kind)) == [256, 384, 512]
    for size, path in bundled_files(kind).items():
        assert path.stat().st_size < 5e6
        found = read_bundled(path)
        assert found.input_size == size
        target = ssd.build_ssd(template, num_classes=2)
        transfer(target, ["a", "b"], found.weights, None)
        assert all(value.isfinite().all() for value in target.state_dict().values())


@pytest.mark.parametrize(("size", "expected"), [(96, 256), (256, 256), (320, 256), (352, 384), (1024, 512)])
def test_the_nearest_size_is_taken(size, expected):
    assert bundled_file("detector", size) == bundled_files("detector")[expected]


def test_the_coco_detector_of_the_package_fits_its_network():
    path = coco_detector()
    assert path.stat().st_size < 2.1e6
    starting_weights = read_bundled(path)
    assert starting_weights.anchors_px == (((8, 8),), ((16, 16),), ((32, 32),))
    network = YOLOX(num_classes=len(COCO_CLASSES))
    network.load_state_dict(dict(starting_weights.weights))
    assert all(value.isfinite().all() for value in network.state_dict().values())


def test_the_origin_of_the_coco_detector_is_beside_it():
    record = json.loads(coco_detector().with_suffix(".json").read_text(encoding="utf-8"))
    assert record["licence"] == "Apache-2.0"
    assert record["origin"] == read_bundled(coco_detector()).origin
