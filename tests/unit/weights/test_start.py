from __future__ import annotations

from pathlib import Path

import pytest
import torch

from multibox import config
from multibox.config import Template
from multibox.errors import CheckpointError, OptionError
from multibox.model import detector, ssd
from multibox.weights import checkpoint
from multibox.weights.checkpoint import Checkpoint
from multibox.weights.coco_classes import COCO_CLASSES
from multibox.weights.start import open_starting_point

TEMPLATES = Path(__file__).parents[3] / "src/multibox/templates"


def template(size: int) -> Template:
    return config.load_template(TEMPLATES / f"mobilenet_v2-2s_ssd-{size}x{size}.yaml")


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return ssd.build_ssd(template(256), num_classes=2).state_dict()


def assert_close(anchors_px, expected) -> None:
    assert [len(level) for level in anchors_px] == [len(level) for level in expected]
    for level, expected_level in zip(anchors_px, expected, strict=True):
        for size, expected_size in zip(level, expected_level, strict=True):
            assert size == pytest.approx(expected_size)


def test_a_checkpoint_brings_weights_classes_and_anchors(tmp_path, weights):
    checkpoint.save(tmp_path / "a.pth", Checkpoint(weights, ("cat", "dog"), template(256)))
    start = open_starting_point(tmp_path / "a.pth", template(256))
    assert start.classes == ("cat", "dog")
    assert start.anchors_px == template(256).model.anchors_px
    assert not start.is_folded
    assert start.name == str(tmp_path / "a.pth")
    assert all(torch.equal(start.weights[key], value) for key, value in weights.items())


@pytest.mark.parametrize(("of_file", "of_run"), [(512, 256), (256, 384)])
def test_anchors_of_another_input_size_are_scaled(tmp_path, weights, of_file, of_run):
    # The anchors of the three templates are the same shares of the input.
    checkpoint.save(tmp_path / "a.pth", Checkpoint(weights, ("cat", "dog"), template(of_file)))
    start = open_starting_point(tmp_path / "a.pth", template(of_run))
    assert_close(start.anchors_px, template(of_run).model.anchors_px)


def test_fitted_anchors_of_a_checkpoint_are_scaled_not_replaced(tmp_path, weights):
    given = template(512)
    anchors_px = (((10.0, 30.0),) * 4, ((100.0, 50.0),) * 5)
    fitted = config.changed(given, {"model.anchors_px": anchors_px})
    checkpoint.save(tmp_path / "a.pth", Checkpoint(weights, ("cat", "dog"), fitted))
    start = open_starting_point(tmp_path / "a.pth", template(256))
    # 256 / 512 of each side
    assert_close(start.anchors_px, (((5, 15),) * 4, ((50, 25),) * 5))


def test_a_snapshot_without_template_has_the_anchors_of_the_run(tmp_path, weights):
    torch.save({"state_dict": weights, "meta": {"CLASSES": ["cat", "dog"]}}, tmp_path / "a.pth")
    start = open_starting_point(tmp_path / "a.pth", template(512))
    assert start.anchors_px == template(512).model.anchors_px
    assert start.classes == ("cat", "dog")


def exported(shared: Path, number: int) -> Path:
    name = f"person-vehicle-bike-detection-{number}"
    return shared / "pretrained" / name / "FP16" / f"{name}.xml"


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_an_exported_model_is_folded_and_its_classes_are_known(shared, suffix):
    path = exported(shared, 2000).with_suffix(suffix)
    start = open_starting_point(path, template(256))
    assert start.is_folded
    assert start.classes == ("vehicle", "person", "bike")
    assert start.name == str(path)
    network = ssd.build_ssd(template(256), num_classes=3)
    network.load_state_dict(dict(start.weights))


def test_anchors_of_an_exported_model_are_scaled(shared):
    path = exported(shared, 2000)
    small, large = (open_starting_point(path, template(size)).anchors_px for size in (256, 512))
    assert_close(large, [[(2 * width, 2 * height) for width, height in level] for level in small])
    assert all(0 < width < 512 and 0 < height < 512 for level in small for width, height in level)


def test_classes_of_an_unknown_exported_model_are_not_guessed(shared, tmp_path):
    source = exported(shared, 2000)
    (tmp_path / "a.xml").write_bytes(source.read_bytes())
    # One byte more is another file with the same weights.
    (tmp_path / "a.bin").write_bytes(source.with_suffix(".bin").read_bytes() + b"\0")
    assert open_starting_point(tmp_path / "a.xml", template(256)).classes is None


@pytest.mark.parametrize("name", ["none.pth", "none.xml"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(CheckpointError, match=name):
        open_starting_point(tmp_path / name, template(256))


@pytest.fixture(scope="module")
def yolox() -> Template:
    return config.load_template(TEMPLATES / "yolox_nano/yolox_nano-384x384.yaml")


def test_bundled_means_the_coco_weights_for_yolox_nano(yolox):
    start = open_starting_point("bundled", yolox)
    assert (start.classes, start.is_folded) == (COCO_CLASSES, False)
    assert start.anchors_px == yolox.model.anchors_px
    assert start.origin.licence.startswith("Apache-2.0")
    detector.build(yolox, num_classes=80).load_state_dict(dict(start.weights))


@pytest.mark.parametrize("name", ["bundled-classifier", "bundled-detector", "a.tflite", "a.safetensors"])
def test_what_an_ssd_may_start_from_is_refused_to_yolox_nano(yolox, name):
    with pytest.raises(OptionError, match=f"^{name}: yolox_nano-384x384 cannot start from this"):
        open_starting_point(name, yolox)


def test_a_checkpoint_of_another_family_is_no_start(tmp_path, weights, yolox):
    checkpoint.save(tmp_path / "ssd.pth", Checkpoint(weights, ("cat", "dog"), template(256)))
    other = detector.build(yolox, num_classes=2).state_dict()
    checkpoint.save(tmp_path / "yolox.pth", Checkpoint(other, ("cat", "dog"), yolox))
    with pytest.raises(OptionError, match="of another family than yolox_nano-384x384"):
        open_starting_point(tmp_path / "ssd.pth", yolox)
    with pytest.raises(OptionError, match="of another family than mobilenet_v2-2s_ssd-256x256"):
        open_starting_point(tmp_path / "yolox.pth", template(256))
    assert open_starting_point(tmp_path / "yolox.pth", yolox).classes == ("cat", "dog")


def test_weights_without_a_template_are_those_of_the_template_or_refused(tmp_path, weights, yolox):
    torch.save({"state_dict": weights}, tmp_path / "ssd.pth")
    with pytest.raises(CheckpointError, match="these are no weights of the model yolox_nano-384x384"):
        checkpoint.load(tmp_path / "ssd.pth", template=yolox)
    torch.save({"state_dict": detector.build(yolox, num_classes=3).state_dict()}, tmp_path / "yolox.pth")
    assert checkpoint.load(tmp_path / "yolox.pth", template=yolox).classes == ("class 0", "class 1", "class 2")
