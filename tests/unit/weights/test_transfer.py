"""Moving weights to another class list, row by row.

The row of class c of anchor a, with K classes, is a * (K + 1) + c; background is class K. Level 0 has 4 anchors, level
1 has 5.
"""

from __future__ import annotations

import pytest
import torch

from multibox.config import Template
from multibox.model import ssd
from multibox.model.yolox import YOLOX
from multibox.weights.coco_classes import COCO_CLASSES
from multibox.weights.transfer import transfer
from tests.unit.weights.conftest import LAST_LAYERS

COLOURS = ("red", "green", "blue")
LEVELS = ((0, 4), (1, 5))


def moved(
    template: Template, classes: tuple[str, ...], weights: dict[str, torch.Tensor], source: tuple[str, ...] | None
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], str]:
    """The weights of a model of `classes` before and after the transfer, and the report."""
    torch.manual_seed(99)
    model = ssd.build_ssd(template, num_classes=len(classes))
    for key, value in model.state_dict().items():
        if key.startswith(LAST_LAYERS):
            value.copy_(torch.randn(value.shape))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    report = transfer(model, classes, weights, source)
    return before, model.state_dict(), report


def assert_rows(
    before: dict[str, torch.Tensor],
    after: dict[str, torch.Tensor],
    given: dict[str, torch.Tensor],
    sources: list[int | None],
    num_given: int,
) -> None:
    """`sources`: for each output of an anchor the output of the given weights that it comes from, None if fresh."""
    for level, num_anchors in LEVELS:
        for kind in ("weight", "bias"):
            key = f"bbox_head.cls_convs.{level}.3.{kind}"
            assert len(after[key]) == num_anchors * len(sources)
            for anchor in range(num_anchors):
                for output, source in enumerate(sources):
                    row = anchor * len(sources) + output
                    expected = before[key][row] if source is None else given[key][anchor * num_given + source]
                    assert torch.equal(after[key][row], expected), f"{key}, anchor {anchor}, output {output}"


def test_rows_go_by_name_and_new_classes_stay_fresh(template, three):
    before, after, report = moved(template, ("blue", "pink", "red", "grey"), three, COLOURS)
    # blue was 2, red was 0, background was 3
    assert_rows(before, after, three, [2, None, 0, None, 3], 4)
    assert report == (
        "pretrained weights loaded, with what they know of blue and red. "
        "New classes, learned from scratch: pink and grey."
    )


def test_all_but_the_class_rows_is_copied(template, three):
    before, after, _ = moved(template, ("blue", "pink"), three, COLOURS)
    others = [key for key in after if not key.startswith(LAST_LAYERS)]
    assert len(others) == len(after) - 4
    assert all(torch.equal(after[key], three[key]) for key in others)
    assert not torch.equal(before["bbox_head.cls_convs.0.0.weight"], three["bbox_head.cls_convs.0.0.weight"])


def test_the_same_classes_in_the_same_order_are_copied_whole(template, three):
    _, after, report = moved(template, COLOURS, three, COLOURS)
    assert all(torch.equal(after[key], value) for key, value in three.items())
    assert report == "pretrained weights loaded, with what they know of red, green and blue."


def test_reordered_classes_are_reordered(template, three):
    before, after, _ = moved(template, ("green", "blue", "red"), three, COLOURS)
    assert_rows(before, after, three, [1, 2, 0, 3], 4)


def test_without_a_common_class_background_is_carried(template, three):
    before, after, report = moved(template, ("pink",), three, COLOURS)
    assert_rows(before, after, three, [None, 3], 4)
    assert report == "pretrained weights loaded. New class, learned from scratch: pink."


@pytest.mark.parametrize("classes", [("pink",), COLOURS, ("a", "b", "c", "d", "e")])
def test_of_an_unnamed_source_only_background_is_carried(template, three, classes):
    before, after, _ = moved(template, classes, three, None)
    assert_rows(before, after, three, [*[None] * len(classes), 3], 4)


def test_a_few_of_many_classes(template, eighty):
    before, after, _ = moved(template, ("dog", "person"), eighty, COCO_CLASSES)
    # COCO: dog is 16, person 0, background 80
    assert_rows(before, after, eighty, [16, 0, 80], 81)


def test_the_report_of_many_classes_stays_one_line(template, eighty):
    _, _, report = moved(template, COCO_CLASSES, eighty, COCO_CLASSES)
    assert "person, bicycle, car, motorcycle, airplane and 75 more" in report
    assert "\n" not in report


def test_a_transfer_leaves_its_source_as_it_is(template, three):
    copies = {key: value.clone() for key, value in three.items()}
    moved(template, ("blue", "pink"), three, COLOURS)
    assert all(torch.equal(three[key], value) for key, value in copies.items())


def test_a_model_goes_on_learning_after_a_transfer(template, three):
    model = ssd.build_ssd(template, num_classes=2)
    transfer(model, ("blue", "pink"), three, COLOURS)
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in model.parameters())


def yolox_of(num_classes: int) -> YOLOX:
    """A network in which no two values of a last layer are equal."""
    network = YOLOX(num_classes=num_classes)
    for key, value in network.state_dict().items():
        if key.split(".")[-2] in ("classes", "objectness", "boxes"):
            value.copy_(torch.randn(value.shape))
    return network


def test_class_rows_of_yolox_nano_go_by_name_and_objectness_is_copied():
    given = {key: value.clone() for key, value in yolox_of(3).state_dict().items()}
    network = yolox_of(4)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    report = transfer(network, ("blue", "pink", "red", "grey"), given, COLOURS)
    after = network.state_dict()
    class_layers = [key for key in after if ".classes." in key]
    assert len(class_layers) == 6
    for key in class_layers:
        assert torch.equal(after[key][[0, 2]], given[key][[2, 0]])
        assert torch.equal(after[key][[1, 3]], before[key][[1, 3]])
    assert all(torch.equal(after[key], given[key]) for key in after if key not in class_layers)
    assert report == (
        "pretrained weights loaded, with what they know of blue and red. "
        "New classes, learned from scratch: pink and grey."
    )


def test_without_a_class_in_common_no_class_row_of_yolox_nano_is_carried():
    report = transfer(yolox_of(1), ("raccoon",), yolox_of(80).state_dict(), COCO_CLASSES)
    assert report == "pretrained weights loaded. New class, learned from scratch: raccoon."
