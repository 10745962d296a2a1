"""Weights of a model put into one with other classes, whose rows go by class name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from multibox.errors import CheckpointError
from multibox.model.detector import Detector
from multibox.weights.checked import COUNTER
from multibox.wording import listed

HEAD = "bbox_head."


def transfer(
    model: Detector, classes: Sequence[str], weights: Mapping[str, Tensor], source_classes: Sequence[str] | None
) -> str:
    """Put weights of a model with other classes into `model`, in place; what was carried over, in a sentence or two.

    Rows of the classification layers go by class name, background included where there is one; those of new classes
    keep their fresh values. Without names (`source_classes` None) only background is carried. Everything else is
    copied, objectness too; of weights without a head, the head stays fresh.

    Raises:
        CheckpointError: a weight is missing or has another shape.
    """
    has_head = any(key.startswith(HEAD) for key in weights)
    own = model.state_dict() if has_head else model.backbone.state_dict(prefix="backbone.")
    others = [None] if model.has_background_rows else []
    names = [*classes, *others]
    source_names: list[str | None] = [*source_classes, *others] if source_classes is not None else []
    for key, value in own.items():
        given = weights.get(key)
        if given is None and key.endswith(COUNTER):
            continue
        # Rows of classes differ in number; everything else has the shape of our own.
        if (
            given is None
            or given.shape[1:] != value.shape[1:]
            or (given.shape != value.shape and not model.is_class_layer(key))
        ):
            shape = "missing" if given is None else f"{list(given.shape)}, not {list(value.shape)}"
            raise CheckpointError(f"The starting weights do not fit the template: `{key}` is {shape}.")
        if not model.is_class_layer(key):
            value.copy_(given)
            continue
        rows = given.unflatten(0, (-1, _source_count(given, value, len(names), source_names)))
        target = value.unflatten(0, (-1, len(names)))
        for i, name in enumerate(names):
            if name is None:
                target[:, i] = rows[:, -1]
            elif name in source_names:
                target[:, i] = rows[:, source_names.index(name)]
    if not has_head:
        return "pretrained backbone loaded; the head is learned from scratch."
    carried = [name for name in classes if name in source_names]
    fresh = [name for name in classes if name not in source_names]
    text = f"pretrained weights loaded{f', with what they know of {listed(carried)}' if carried else ''}."
    if fresh:
        text += f" New {'class' if len(fresh) == 1 else 'classes'}, learned from scratch: {listed(fresh)}."
    return text


def _source_count(given: Tensor, own: Tensor, own_count: int, source_names: Sequence[str | None]) -> int:
    if source_names:
        return len(source_names)
    num_anchors = own.shape[0] // own_count
    return given.shape[0] // num_anchors
