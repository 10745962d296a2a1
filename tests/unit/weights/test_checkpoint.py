from __future__ import annotations

import argparse
import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from multibox import config
from multibox.config import Template
from multibox.errors import CheckpointError
from multibox.model import quantized
from multibox.model.folding import fold
from multibox.model.quantized import Scale
from multibox.weights import checkpoint
from multibox.weights.checkpoint import Checkpoint
from multibox.weights.coco_classes import COCO_CLASSES
from tests.unit.weights.conftest import LAST_LAYERS, random_weights

ROOT = Path(__file__).parents[3]
COLOURS = ("red", "green", "blue")
FIRST = "backbone.features.init_block.conv"


def refusal(path: Path, template: Template | None = None) -> str:
    """What the one line says after the path."""
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path, template=template)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_what_is_saved_is_loaded(tmp_path, template, three):
    meta = {"epoch": 4, "iter": 200, "libraries": {"torch": "2", "nncf": None}}
    training = {"model": three, "optimizer": {"state": {0: torch.ones(2)}, "lr": 0.1}, "step": 200}
    checkpoint.save(tmp_path / "a.pth", Checkpoint(three, COLOURS, template, meta, training))
    found = checkpoint.load(tmp_path / "a.pth")
    assert found.classes == COLOURS
    assert found.template == template
    assert found.meta == meta
    assert list(found.state_dict) == list(three)
    assert all(torch.equal(found.state_dict[key], value) for key, value in three.items())
    assert found.training["step"] == 200
    assert torch.equal(found.training["optimizer"]["state"][0], torch.ones(2))


def test_a_finished_model_has_no_training_state(tmp_path, template, three):
    checkpoint.save(tmp_path / "a.pth", Checkpoint(three, COLOURS, template))
    assert checkpoint.load(tmp_path / "a.pth").training is None
    assert set(torch.load(tmp_path / "a.pth", weights_only=True)) == {"meta", "state_dict"}


def test_class_names_stand_where_the_original_had_them(tmp_path, template, three):
    checkpoint.save(tmp_path / "a.pth", Checkpoint(three, COLOURS, template))
    assert torch.load(tmp_path / "a.pth", weights_only=True)["meta"]["CLASSES"] == list(COLOURS)


def test_the_built_network_has_the_weights_and_is_for_evaluation(tmp_path, template, three):
    model = Checkpoint(three, COLOURS, template).build()
    assert not any(module.training for module in model.modules())
    assert model.num_classes == 3
    assert torch.equal(model.bbox_head.cls_convs[1][3].bias, three["bbox_head.cls_convs.1.3.bias"])


def test_the_template_of_the_file_goes_before_the_given_one(tmp_path, template, three):
    other = config.replace(template, name="another")
    checkpoint.save(tmp_path / "a.pth", Checkpoint(three, COLOURS, template))
    assert checkpoint.load(tmp_path / "a.pth", template=other).template == template


def test_a_failed_save_leaves_the_file_that_was_there(tmp_path, template, three):
    path = tmp_path / "a.pth"
    path.write_bytes(b"before")
    with pytest.raises((pickle.PicklingError, AttributeError)):
        checkpoint.save(path, Checkpoint(three, COLOURS, template, {"function": lambda: None}))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


# Published snapshots: a state dict under the same names, without template.


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_snapshot_in_either_format_of_pytorch_is_read(tmp_path, template, eighty, is_zip):
    torch.save({"meta": {}, "state_dict": eighty}, tmp_path / "a.pth", _use_new_zipfile_serialization=is_zip)
    assert zipfile.is_zipfile(tmp_path / "a.pth") == is_zip
    found = checkpoint.load(tmp_path / "a.pth", template=template)
    assert all(torch.equal(found.state_dict[key], value) for key, value in eighty.items())


@pytest.mark.parametrize("content", [{"meta": {}}, {"meta": None}, {}])
def test_a_snapshot_with_81_rows_and_no_names_is_of_coco(tmp_path, template, eighty, content):
    torch.save({"state_dict": eighty, **content}, tmp_path / "a.pth")
    found = checkpoint.load(tmp_path / "a.pth", template=template)
    assert found.classes == COCO_CLASSES
    assert found.template == template


def test_coco_has_80_names_in_its_order():
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES)) == 80
    assert COCO_CLASSES[0] == "person" and COCO_CLASSES[-1] == "toothbrush"
    assert COCO_CLASSES.index("bench") == 13 and COCO_CLASSES.index("sports ball") == 32
    assert all(name == name.strip() and name for name in COCO_CLASSES)


def test_a_snapshot_of_another_number_of_classes_gets_numbers_for_names(tmp_path, template, three):
    torch.save({"state_dict": three}, tmp_path / "a.pth")
    assert checkpoint.load(tmp_path / "a.pth", template=template).classes == ("class 0", "class 1", "class 2")


@pytest.mark.parametrize("names", [COLOURS, list(COLOURS)])
def test_names_of_a_snapshot_are_kept(tmp_path, template, three, names):
    torch.save({"state_dict": three, "meta": {"CLASSES": names}}, tmp_path / "a.pth")
    assert checkpoint.load(tmp_path / "a.pth", template=template).classes == COLOURS


def test_a_single_name_is_not_taken_for_its_letters(tmp_path, template):
    torch.save({"state_dict": random_weights(template, 1), "meta": {"CLASSES": "cat"}}, tmp_path / "a.pth")
    assert checkpoint.load(tmp_path / "a.pth", template=template).classes == ("cat",)


def test_a_bare_state_dict_is_a_snapshot(tmp_path, template, three):
    torch.save(three, tmp_path / "a.pth")
    found = checkpoint.load(tmp_path / "a.pth", template=template)
    assert all(torch.equal(found.state_dict[key], value) for key, value in three.items())


def test_names_from_a_parallel_training_lose_their_prefix(tmp_path, template, three):
    torch.save({"state_dict": {f"module.{key}": value for key, value in three.items()}}, tmp_path / "a.pth")
    assert list(checkpoint.load(tmp_path / "a.pth", template=template).state_dict) == list(three)


def test_old_snapshots_may_lack_the_counters_of_batches(tmp_path, template, three):
    kept = {key: value for key, value in three.items() if not key.endswith("num_batches_tracked")}
    assert len(kept) < len(three)
    torch.save({"state_dict": kept}, tmp_path / "a.pth")
    assert list(checkpoint.load(tmp_path / "a.pth", template=template).state_dict) == list(three)


def test_keys_that_are_none_of_the_network_are_left_out(tmp_path, template, three):
    torch.save({"state_dict": three | {"ema_decay": torch.ones(1), "note": "text"}}, tmp_path / "a.pth")
    checkpoint.load(tmp_path / "a.pth", template=template).build()


# Files that cannot be used: one line each.


def test_a_snapshot_without_template_asks_for_one(tmp_path, eighty):
    torch.save({"state_dict": eighty}, tmp_path / "a.pth")
    assert "--config" in refusal(tmp_path / "a.pth")


def test_a_missing_file_is_named(tmp_path):
    assert refusal(tmp_path / "none.pth") == "there is no such file."


def test_a_folder_is_no_checkpoint(tmp_path):
    assert "no PyTorch checkpoint" in refusal(tmp_path)


class NeedsCode:
    """Not plain data: reading it would import this module."""


class RunsCommand:
    """Reading it with pickle would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("kind", ["argparse", "own class", "command"])
def test_a_file_that_needs_code_is_refused_and_runs_none(tmp_path, template, three, kind, is_zip):
    folder = tmp_path / "made by the file"
    value = {"argparse": argparse.Namespace(lr=1), "own class": NeedsCode(), "command": RunsCommand(folder)}[kind]
    path = tmp_path / "a.pth"
    torch.save({"state_dict": three, "meta": {"args": value}}, path, _use_new_zipfile_serialization=is_zip)
    assert refusal(path, template) == (
        "reading this file would run code that it brings along; refused. "
        "Save it again with plain tensors and values only."
    )
    assert not folder.exists()


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_file_cut_anywhere_is_refused(tmp_path, template, is_zip):
    path = tmp_path / "a.pth"
    torch.save({"state_dict": {"a": torch.arange(50.0)}}, path, _use_new_zipfile_serialization=is_zip)
    whole = path.read_bytes()
    unclear = {}
    for length in range(0, len(whole) - 1, 3):
        path.write_bytes(whole[:length])
        try:
            checkpoint.load(path, template=template)
        except CheckpointError:
            continue
        except Exception as error:  # noqa: BLE001 - which kinds get through is the question
            unclear[length] = repr(error)
    assert unclear == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"0",
        b"some words\n",
        b"name: mobilenet_v2-2s_ssd-256x256\ndomain: Object Detection\n",  # a template
        b"a: 1\n",
        b'{"images": []}',
        b"<html><body>404 Not Found</body></html>",  # what a failed download leaves
        b"<?xml version='1.0'?><net/>",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        bytes(1000),
        random.Random(0).randbytes(1000),
    ],
)
def test_a_file_of_another_kind_is_no_checkpoint(tmp_path, template, content):
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    assert refusal(path, template) == "this is no PyTorch checkpoint, or it is damaged."


def test_an_archive_of_another_kind_is_no_checkpoint(tmp_path, template):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    assert "no PyTorch checkpoint" in refusal(tmp_path / "a.pth", template)


@pytest.mark.parametrize("content", [[1, 2], None, {"epoch": 3}, {"state_dict": 5}, {"model": {"a": torch.ones(1)}}])
def test_a_file_without_weights_is_refused(tmp_path, template, content):
    torch.save(content, tmp_path / "a.pth")
    assert "holds no model weights" in refusal(tmp_path / "a.pth", template)


@pytest.mark.parametrize("weights", [{}, {"fc.weight": torch.ones(2, 2)}])
def test_weights_of_another_family_are_refused(tmp_path, template, weights):
    torch.save({"state_dict": weights}, tmp_path / "a.pth")
    assert refusal(tmp_path / "a.pth", template) == f"these are no weights of the model {template.name}."


def test_a_wrong_shape_is_named_with_both_shapes(tmp_path, template, three):
    key = "backbone.features.stage1.unit1.conv1.conv.weight"
    torch.save({"state_dict": three | {key: torch.ones(8, 32, 1, 1)}}, tmp_path / "a.pth")
    message = refusal(tmp_path / "a.pth", template)
    assert f"`{key}` is [8, 32, 1, 1], not [32, 32, 1, 1]" in message


def test_a_missing_key_is_named(tmp_path, template, three):
    key = "bbox_head.reg_convs.1.0.bias"
    torch.save({"state_dict": {k: v for k, v in three.items() if k != key}}, tmp_path / "a.pth")
    assert f"`{key}` is missing" in refusal(tmp_path / "a.pth", template)


def test_levels_that_count_different_classes_are_refused(tmp_path, template, three, eighty):
    mixed = three | {key: eighty[key] for key in three if key.startswith(LAST_LAYERS[1])}
    torch.save({"state_dict": mixed}, tmp_path / "a.pth")
    assert LAST_LAYERS[1] in refusal(tmp_path / "a.pth", template)


def test_names_and_rows_must_agree(tmp_path, template, three):
    torch.save({"state_dict": three, "meta": {"CLASSES": ["red", "green"]}}, tmp_path / "a.pth")
    assert refusal(tmp_path / "a.pth", template) == "the file names 2 classes, its weights are for 3."


@pytest.fixture(scope="module")
def compressed(template, three) -> Checkpoint:
    scales = {
        (FIRST, "input"): Scale(torch.tensor([1 / 255]), 0, 255),
        (FIRST, "weight"): Scale(torch.full((32,), 0.25), -127, 127),
        ("backbone.features.stage1", "output"): Scale(torch.tensor([0.125]), -128, 127),
    }
    meta = {"nncf_enable_compression": True, "nncf_version": "3.4.0"}
    return Checkpoint(three, COLOURS, template, meta, quantization=quantized.scales_to_plain(scales))


def test_a_compressed_model_is_the_quantised_one_again(tmp_path, compressed):
    checkpoint.save(tmp_path / "a.pth", compressed)
    assert set(torch.load(tmp_path / "a.pth", weights_only=True)) == {"meta", "state_dict", "quantization"}
    found = checkpoint.load(tmp_path / "a.pth")
    assert found.meta == compressed.meta and list(found.state_dict) == list(compressed.state_dict)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        one, two, plain = (model(images).deltas for model in (compressed.build(), found.build(), found.build_float()))
        expected = quantized.apply(fold(found.build_float()), quantized.scales_from_plain(compressed.quantization))(
            images
        )
    assert torch.equal(one, two) and torch.equal(one, expected.deltas)
    assert not torch.equal(one, plain)
    assert not found.build().training and not quantized.is_quantized(found.build_float())


def test_a_model_that_is_not_compressed_has_no_quantisation(tmp_path, template, three):
    checkpoint.save(tmp_path / "a.pth", Checkpoint(three, COLOURS, template))
    found = checkpoint.load(tmp_path / "a.pth")
    assert found.quantization is None and not quantized.is_quantized(found.build())


STEP = {"low": 0, "high": 255}


@pytest.mark.parametrize(
    ("plain", "what"),
    [
        ("words", "it is no table of scales"),
        ({"backbone:output": 7}, "`backbone:output` is no scale"),
        ({"elsewhere:output": {"step": torch.ones(1), **STEP}}, "the network has no `elsewhere`"),
        ({"backbone.features.stage1:output": {"step": torch.ones(5), **STEP}}, "it does not fit the network"),
    ],
)
def test_a_damaged_quantisation_is_refused(tmp_path, template, three, plain, what):
    content = {"meta": {"template": config.to_plain(template), "CLASSES": list(COLOURS)}, "state_dict": three}
    torch.save({**content, "quantization": plain}, tmp_path / "a.pth")
    assert refusal(tmp_path / "a.pth") == f"its quantisation is damaged: {what}. Compress the model again."


NNCF = (
    "this checkpoint was compressed by another toolkit, in a form of NNCF that is not read here. "
    "Take the one that it was made from, and compress that."
)


@pytest.mark.parametrize(
    "key",
    [
        "nncf_module.backbone.features.init_block.conv.weight",
        "module.nncf_module.backbone.features.init_block.conv.weight",
        "backbone.features.init_block.conv.pre_ops.0.op.scale",
        "__nncf_hooks.post_hooks.x86__conv2d__0.0._num_bits",
    ],
)
def test_weights_that_another_toolkit_compressed_are_refused(tmp_path, template, three, key):
    torch.save({"state_dict": {**three, key: torch.zeros(1)}}, tmp_path / "a.pth")
    assert refusal(tmp_path / "a.pth", template) == NNCF


def test_a_compressed_checkpoint_without_its_scales_is_refused(tmp_path, template, three):
    checkpoint.save(tmp_path / "a.pth", Checkpoint(three, COLOURS, template, {"nncf_enable_compression": True}))
    assert refusal(tmp_path / "a.pth") == NNCF


def test_a_checkpoint_that_says_that_it_is_not_compressed_is_read(tmp_path, template, three):
    checkpoint.save(tmp_path / "a.pth", Checkpoint(three, COLOURS, template, {"nncf_enable_compression": False}))
    assert checkpoint.load(tmp_path / "a.pth").quantization is None
