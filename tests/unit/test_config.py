from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest
import yaml

from multibox import config
from multibox.errors import TemplateError

TEMPLATES = Path(__file__).parents[2] / "src/multibox/templates"
NAMES = [f"mobilenet_v2-2s_ssd-{size}x{size}" for size in (256, 384, 512)]
TEXT = (TEMPLATES / f"{NAMES[0]}.yaml").read_text(encoding="utf-8")


def changed(before: str, after: str) -> str:
    """The text of the 256 template with one thing changed."""
    assert TEXT.count(before) == 1, before
    return TEXT.replace(before, after)


def refusal(text: str) -> str:
    """What the one line says after the name of the file."""
    with pytest.raises(TemplateError) as caught:
        config.loads(text, source="my work/template.yaml")
    message = str(caught.value)
    assert message.startswith("my work/template.yaml") and "\n" not in message
    return message.removeprefix("my work/template.yaml")


def test_three_templates_come_with_the_package():
    assert sorted(path.stem for path in TEMPLATES.glob("*.yaml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_named_after_its_file_and_size(name):
    template = config.load_template(TEMPLATES / f"{name}.yaml")
    assert template.name == name
    assert name.endswith(f"-{template.input.size}x{template.input.size}")
    assert template.dependencies[0].destination == template.initial_weights


def test_anchors_of_the_three_sizes_are_the_same_shares_of_the_input():
    templates = [config.load_template(TEMPLATES / f"{name}.yaml") for name in NAMES]
    first = templates[0].model.anchors_px
    assert [len(level) for level in first] == [4, 5]
    for template in templates[1:]:
        factor = template.input.size / 256
        for level, reference in zip(template.model.anchors_px, first, strict=True):
            for size, reference_size in zip(level, reference, strict=True):
                assert size == pytest.approx([side * factor for side in reference_size])


@pytest.mark.parametrize("name", NAMES)
def test_what_is_dumped_is_loaded(name):
    template = config.load_template(TEMPLATES / f"{name}.yaml")
    assert config.loads(config.dump(template), source="dump") == template


def test_a_dump_keeps_the_order_of_keys_and_all_characters():
    template = config.replace(config.loads(TEXT, source="text"), summary="Für Äpfel: # 1")
    text = config.dump(template)
    assert "Für Äpfel" in text
    assert config.loads(text, source="dump").summary == "Für Äpfel: # 1"
    assert list(yaml.safe_load(text)) == list(yaml.safe_load(TEXT))


def test_a_template_as_plain_data_survives_json():
    template = config.loads(TEXT, source="text")
    plain = json.loads(json.dumps(config.to_plain(template)))
    assert config.from_plain(plain, source="json") == template


def test_replace_changes_a_copy():
    template = config.loads(TEXT, source="text")
    other = config.replace(template, gpu_num=0)
    assert (template.gpu_num, other.gpu_num) == (3, 0)
    assert config.replace(other, gpu_num=3) == template


def test_a_template_does_not_change():
    template = config.loads(TEXT, source="text")
    with pytest.raises(AttributeError):
        template.gpu_num = 0


@pytest.mark.parametrize(
    ("value", "number"),
    [("1e-4", 1e-4), ("1.0e-4", 1e-4), ("1", 1.0), ("'0.5'", 0.5), ("5e+0", 5.0)],
)
def test_numbers_may_be_written_in_any_way(value, number):
    text = changed("base_learning_rate: 0.002", f"base_learning_rate: {value}")
    assert config.loads(text, source="text").hyper_parameters.basic.base_learning_rate == number


def test_a_null_part_of_the_augmentation_is_off():
    start, end = TEXT.index("    crop:\n"), TEXT.index("    flip:")
    template = config.loads(TEXT[:start] + "    crop: null\n" + TEXT[end:], source="text")
    assert template.train.augment.crop is None


@pytest.mark.parametrize(
    ("before", "after", "problem", "where"),
    [
        ("momentum: 0.9", "momentun: 0.9", "unknown field `momentun`", "$.train"),
        ("gpu_num: 3", "gpu_num: 3\nextra: 1", "unknown field `extra`", ""),
        ("    epochs: 15\n", "", "there is no required field `epochs`", "$.hyper_parameters.basic"),
        ("gpu_num: 3\n", "", "there is no required field `gpu_num`", ""),
        ("epochs: 15", "epochs: many", "Expected `int`, got `str`", "$.hyper_parameters.basic.epochs"),
        ("epochs: 15", "epochs: 1.5", "Expected `int`, got `float`", "$.hyper_parameters.basic.epochs"),
        ("epochs: 15", "epochs: 0", ">= 1", "$.hyper_parameters.basic.epochs"),
        ("learning_rate: 0.002", "learning_rate: -0.002", "> 0", "$.hyper_parameters.basic.base_learning_rate"),
        ("learning_rate: 0.002", "learning_rate: .nan", "> 0", "$.hyper_parameters.basic.base_learning_rate"),
        ("ema_decay: 0.995", "ema_decay: 1.5", "<= 1", "$.train.ema_decay"),
        ("size: 256", "size: 250", "multiple of 32", "$.input.size"),
        ("size: 256", "size: 0", "", "$.input.size"),
        ("precision: auto", "precision: half", "'half'", "$.train.precision"),
        ("contrast: [0.5, 1.5]", "contrast: [0.5]", "length 2, got 1", "$.train.augment.photometric.contrast"),
        ("[27.156337561336, 45.49947844712648]", "[27.1, 0]", "> 0", "$.model.anchors_px[0][1][1]"),
        ("annotation_format: COCO", "annotation_format: VOC", "'VOC'", "$.annotation_format"),
    ],
)
def test_an_error_tells_what_and_where(before, after, problem, where):
    message = refusal(changed(before, after))
    assert problem in message
    assert f"`{where}`" in message or not where


@pytest.mark.parametrize("text", ["", "[]", "only words", "5: 3"])
def test_yaml_that_is_no_template_is_refused(text):
    assert "Expected" in refusal(text)


@pytest.mark.parametrize(("text", "line"), [("a: b: c", 1), ("name: x\nlist: [1, 2\nother: 3\n", 3), ("\tname: x", 1)])
def test_text_that_is_no_yaml_is_refused_with_its_line(text, line):
    assert refusal(text).startswith(f", line {line}: this is not valid YAML")


def test_yaml_that_brings_code_is_refused(tmp_path):
    folder = tmp_path / "made by the file"
    assert "not valid YAML" in refusal(f"name: !!python/object/apply:os.mkdir ['{folder}']")
    assert not folder.exists()


def test_a_template_of_the_original_is_told_apart():
    message = refusal("name: mobilenet_v2-2s_ssd-256x256\nconfig: model.py\ngpu_num: 3\n")
    assert "template of OpenVINO Training Extensions" in message
    assert "`multibox new`" in message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TemplateError, match=r"none\.yaml: cannot read the template: No such file"):
        config.load_template(tmp_path / "none.yaml")


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TemplateError, match=r"a\.yaml: cannot read the template: it is no UTF-8 text"):
        config.load_template(tmp_path / "a.yaml")


def test_values_are_changed_by_their_places_and_nothing_else_is():
    template = config.loads(TEXT, source="256")
    places = {"train.schedule.min_steps_per_epoch": 5, "train.augment.mosaic": None, "input.size": 96}
    other = config.changed(template, places)
    assert (other.train.schedule.min_steps_per_epoch, other.train.augment.mosaic, other.input.size) == (5, None, 96)
    back = {
        "train.schedule.min_steps_per_epoch": template.train.schedule.min_steps_per_epoch,
        "train.augment.mosaic": template.train.augment.mosaic,
        "input.size": template.input.size,
    }
    assert config.changed(other, back) == template
    assert template == config.loads(TEXT, source="256")


def test_a_part_of_a_template_is_changed_in_the_same_way():
    train = config.loads(TEXT, source="256").train
    assert config.changed(train, {"loss.match_iou_threshold": 0.4}).loss.match_iou_threshold == 0.4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"input.sise": 96}, "input.sise: there is an unknown field `sise` - at `$.input`."),
        ({"input.size": 97}, "input.size: Expected `int` that's a multiple of 32 - at `$.input.size`."),
        ({"trian.ema_decay": 0.5}, "trian.ema_decay: the template has no `trian` in which a value could be changed."),
        ({"train.augment.mosaic": None, "train.augment.mosaic.share": 1.0}, "the template has no `mosaic`"),
        ({"train.ema_decay": "much"}, "train.ema_decay: Expected `float`, got `str` - at `$.train.ema_decay`."),
    ],
)
def test_a_change_is_checked_like_a_file(changes, reason):
    with pytest.raises(TemplateError) as caught:
        config.changed(config.loads(TEXT, source="256"), changes)
    assert reason in str(caught.value)


YOLOX_TEMPLATES = sorted((TEMPLATES / "yolox_nano").glob("*.yaml"))


def test_four_templates_of_yolox_nano_are_offered_after_those_of_the_ssd():
    names = [f"yolox_nano-{size}x{size}" for size in (256, 384, 512, 640)]
    assert [path.stem for path in YOLOX_TEMPLATES] == names
    assert list(config.bundled_templates()) == [*NAMES, *names]
    assert list(config.ssd_templates()) == NAMES


def test_the_optimizer_of_templates_that_name_none_is_sgd():
    assert TEXT.count("  optimizer: adamw\n") == 1
    text = changed("  optimizer: adamw\n", "")
    assert config.loads(text, source="text").train.optimizer == "sgd"
    for path in config.bundled_templates().values():
        assert config.load_template(path).train.optimizer == "adamw"


@pytest.mark.parametrize("path", YOLOX_TEMPLATES, ids=lambda path: path.stem)
def test_a_template_of_yolox_nano_says_how_it_is_trained(path):
    template = config.load_template(path)
    assert template.name == path.stem == f"yolox_nano-{template.input.size}x{template.input.size}"
    assert isinstance(template.model, config.YOLOXNanoConfig)
    assert isinstance(template.train.objective, config.TaskAlignedConfig)
    assert not template.train.anchor_clustering.enabled
    assert config.loads(config.dump(template), source="dump") == template


def test_anchors_of_yolox_nano_follow_from_its_strides():
    model = config.load_template(YOLOX_TEMPLATES[0]).model
    assert model.anchors_px == (((8.0, 8.0),), ((16.0, 16.0),), ((32.0, 32.0),))
    assert (model.box_variances, model.anchor_offset) == ((1.0, 1.0), 0.0)


def test_a_template_from_before_there_were_families_is_an_ssd():
    template = config.loads(TEXT, source="text")
    assert "family" not in TEXT and "kind:" not in TEXT
    plain = config.to_plain(template)
    assert (plain["model"]["family"], plain["train"]["loss"]["kind"]) == ("ssd", "multibox")
    assert config.from_plain(plain, source="plain") == template


@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        ("family: yolox_nano", "family: yolox_large", "$.model.family"),
        ("neck: pafpn", "neck: fpn", "$.model.neck"),
        ("strides: [8, 16, 32]", "strides: [8, 16]", "$.model.strides"),
        ("kind: task_aligned", "kind: simota", "$.train.loss.kind"),
        ("num_places: 10", "num_places: 0", "$.train.loss.num_places"),
        ("  family: yolox_nano\n", "", "$.model"),
    ],
)
def test_an_error_in_another_family_tells_where(before, after, where):
    text = YOLOX_TEMPLATES[0].read_text(encoding="utf-8")
    assert text.count(before) == 1
    assert f"`{where}`" in refusal(text.replace(before, after))


def test_a_family_with_the_loss_of_another_is_refused():
    text = YOLOX_TEMPLATES[0].read_text(encoding="utf-8")
    start, end = text.index("    kind: task_aligned"), text.index("  augment:")
    loss = "    match_iou_threshold: 0.4\n    negatives_per_positive: 3\n"
    message = refusal(text[:start] + loss + text[end:])
    assert "model.family yolox_nano" in message and "train.loss.kind task_aligned" in message


def test_the_multibox_loss_of_another_family_is_no_setting():
    with pytest.raises(TemplateError, match=r"train\.loss"):
        config.load_template(YOLOX_TEMPLATES[0]).train.loss  # noqa: B018


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "inf", "nan", "1e999"])
@pytest.mark.parametrize("place", ["metrics", "extra", "rate"])
def test_numbers_that_are_none_are_refused(place, value):
    content = yaml.safe_load(TEXT)
    number = yaml.safe_load(value)
    if place == "metrics":
        content["metrics"][0]["value"] = number
    elif place == "rate":
        content["hyper_parameters"]["basic"]["base_learning_rate"] = number
    else:
        content["hyper_parameters"]["extra"] = {"a": [{"b": float(number)}]}
    assert refusal(yaml.safe_dump(content))


@pytest.mark.parametrize("value", [object(), b"bytes", "half \ud800", [[[]] * 2] * 2])
def test_only_what_a_file_can_hold_is_a_template(value):
    content = yaml.safe_load(TEXT)
    content["hyper_parameters"]["extra"] = {"a": value}
    if value == [[[]] * 2] * 2:
        assert config.from_plain(content, source="x").hyper_parameters.extra == {"a": value}
    else:
        with pytest.raises(TemplateError, match=r"hyper_parameters\.extra\.a has something in it"):
            config.from_plain(content, source="x")


@pytest.mark.parametrize(("size", "num_anchors", "is_read"), [(4096, 64, True), (4128, 4, False), (256, 65, False)])
def test_sizes_have_limits(size, num_anchors, is_read):
    changes = {"input.size": size, "model.anchors_px": [[[1.0, 1.0]] * num_anchors] * 2}
    with contextlib.nullcontext() if is_read else pytest.raises(TemplateError):
        config.changed(config.loads(TEXT, source="x"), changes)


@pytest.mark.parametrize("anchors_px", [[], [[], []], [[[10.0, 10.0]], []]])
def test_no_level_is_without_anchors(anchors_px):
    with pytest.raises(TemplateError, match=r"length >= 1.*model\.anchors_px"):
        config.changed(config.loads(TEXT, source="x"), {"model.anchors_px": anchors_px})


def test_a_template_that_is_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(TemplateError, match="this is a pipe, a socket or a device, no file"):
        config.load_template(tmp_path / "a.yaml")
    with pytest.raises(TemplateError, match="no file"):
        config.load_template("/dev/zero")
