"""Files of weights that are changed in one place, as hostile or damaged ones are."""

from __future__ import annotations

import os

import pytest
import torch
from safetensors.torch import save_file

from multibox import config
from multibox.errors import CheckpointError
from multibox.model import ssd
from multibox.weights import checkpoint
from multibox.weights.bundled import read_bundled
from multibox.weights.start import open_starting_point
from multibox.weights.transfer import transfer

FIRST = "backbone.features.init_block.conv.weight"
VARIANCE = "backbone.features.init_block.bn.running_var"


def write(path, three, template, *, weights=None, **meta):
    content = {
        "meta": {"CLASSES": ["a", "b", "c"], "template": config.to_plain(template), **meta},
        "state_dict": {**three, **(weights or {})},
    }
    torch.save(content, path)
    return path


def refusal(path) -> str:
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and message.isprintable()
    return message


CHANGES = {
    "NaN": lambda value: value * float("nan"),
    "infinite": lambda value: value + float("inf"),
    "sparse": lambda value: value.to_sparse(),
    "meta": lambda value: torch.empty(value.shape, device="meta"),
    "complex": lambda value: value.to(torch.complex64),
    "int8": lambda value: value.to(torch.int8),
    "bool": lambda value: value > 0,
    "huge": lambda value: torch.zeros(1).expand(1 << 40),
    "shorter": lambda value: value[:1],
}


@pytest.mark.parametrize("kind", CHANGES)
def test_weights_that_are_none_are_refused(tmp_path, three, template, kind):
    changed = CHANGES[kind](three[FIRST])
    said = refusal(write(tmp_path / "a.pth", three, template, weights={FIRST: changed}))
    # PyTorch 2.14 refuses a file with sparse tensors before we see it.
    assert FIRST in said or (kind == "sparse" and "damaged" in said)


def test_a_variance_below_0_is_refused(tmp_path, three, template):
    assert VARIANCE in refusal(write(tmp_path / "a.pth", three, template, weights={VARIANCE: three[VARIANCE] - 100}))


@pytest.mark.parametrize("kind", [torch.float64, torch.float16])
def test_other_floats_are_weights(tmp_path, three, template, kind):
    path = write(tmp_path / "a.pth", three, template, weights={FIRST: three[FIRST].to(kind)})
    assert checkpoint.load(path).state_dict[FIRST].shape == three[FIRST].shape


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("threshold", value) for value in ("0.5", -5, 1.5, float("nan"), [], {}, 10**30)],
        *[("start_origin", value) for value in (5, "x", [], {"name": 5})],
        *[("val_data", value) for value in (5, "x", {"annotation_files": 5}, {"annotation_files": ["a"]})],
        *[("train_data", value) for value in ([], {"fingerprint": 5}, {"data_roots": [None]})],
        ("begun", "x"),
        ("begun", float("nan")),
        ("start", []),
        ("launch", 5),
        ("nncf_enable_compression", torch.ones(3)),
        *[("CLASSES", value) for value in (5, ["a", "a", "b"], ["a", "b", ""], ["a", "b", None], [["a"], "b", "c"])],
        *[("CLASSES", value) for value in (["a", "b", "half \ud800"], {"a": 1}, ["a", "b"])],
    ],
)  # fmt: skip
def test_facts_of_wrong_types_are_refused(tmp_path, three, template, key, value):
    refusal(write(tmp_path / "a.pth", three, template, **{key: value}))


def test_facts_that_others_write_do_not_matter(tmp_path, three, template):
    path = write(tmp_path / "a.pth", three, template, epoch="x", iter=[], seed=None, env_info={"a": [1]}, time=5)
    assert checkpoint.load(path).classes == ("a", "b", "c")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_not_opened(tmp_path, template):
    for name in ("a.pth", "a.safetensors"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(CheckpointError, match="this is a pipe, a socket or a device, no file"):
            open_starting_point(tmp_path / name, template)


ANCHORS = "[[[1,2],[1,2],[1,2],[1,2]],[[1,2],[1,2],[1,2],[1,2],[1,2]]]"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("input_size", value) for value in ("", "0", "-5", "x", "1e3", "9" * 30, "100")],
        *[("anchors_px", value) for value in ("", "x", "null", "{}", "[]", "[[]]", '[[["a",1]]]', "[[[1,1e999]]]")],
        *[("anchors_px", value) for value in ("[[[-1,0]]]", "[" * 100_000, "[[[0,0]],[[0,0]]]")],
    ],
    ids=lambda value: value[:20],
)
def test_descriptions_of_starting_weights_are_checked(tmp_path, key, value):
    facts = {"input_size": "256", "anchors_px": ANCHORS, key: value}
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", metadata=facts)
    with pytest.raises(CheckpointError, match=r"description of itself is damaged|it has no anchors") as caught:
        read_bundled(tmp_path / "a.safetensors")
    assert str(caught.value).isprintable()


def test_starting_weights_are_finite_and_whole(tmp_path, three, template):
    facts = {"input_size": "256", "anchors_px": ANCHORS}
    save_file({FIRST: three[FIRST] * float("nan")}, tmp_path / "a.safetensors", metadata=facts)
    with pytest.raises(CheckpointError, match="numbers that are not finite"):
        read_bundled(tmp_path / "a.safetensors")
    model = ssd.build_ssd(template, num_classes=3)
    for wrong in (
        {FIRST: None},
        {FIRST: three[FIRST][:1]},
        {"bbox_head.cls_convs.0.3.weight": torch.zeros(8, 5, 1, 1)},
    ):
        weights = {key: value for key, value in {**three, **wrong}.items() if value is not None}
        with pytest.raises(CheckpointError, match=f"`{next(iter(wrong))}` is "):
            transfer(model, ["a", "b", "c"], weights, ["a", "b", "c"])
