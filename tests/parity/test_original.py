"""Every array of the original's reference, within the tolerances that its README suggests."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from multibox import boxes as box
from multibox import config as configuration
from multibox.model.loss import multibox_loss
from multibox.model.matching import BACKGROUND, match, pad
from multibox.model.postprocess import postprocess, softmax
from multibox.structures import Targets

SIZE = 256
VARIANCES = (0.1, 0.2)


def close(actual, expected, *, absolute=0.0, relative=0.0):
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), atol=absolute, rtol=relative)


def targets_of(reference, images):
    result = []
    for i in images:
        rows = reference["gt_image"] == i
        result.append(Targets(reference["gt_boxes"][rows] / np.float32(SIZE), reference["gt_labels"][rows]))
    return result


def losses_of(model, raw, targets, anchors, template):
    return multibox_loss(
        raw,
        pad(targets, "cpu"),
        torch.from_numpy(anchors),
        model.bbox_head.loss_weights,
        config=configuration.replace(template.train.loss, learn_balance=True, object_exponent=1.0),
        variances=template.model.box_variances,
    )


def test_anchors(reference, anchors):
    close(anchors * SIZE, reference["anchors"], absolute=1e-4)


def test_logits_and_deltas(reference, model, images):
    with torch.no_grad():
        features = model.backbone(images)
        raw = model.bbox_head(features)
    for level, feature in enumerate(features):
        close(feature.mean((2, 3)), reference[f"feat_l{level}_mean"], absolute=1e-3)
        close(feature.std((2, 3)), reference[f"feat_l{level}_std"], absolute=1e-3)

    def flat(name, last):
        levels = [reference[f"{name}_l{i}"].transpose(0, 2, 3, 1).reshape(3, -1, last) for i in (0, 1)]
        return np.concatenate(levels, axis=1)

    close(raw.logits, flat("cls_score", 81), absolute=1e-3)
    close(raw.deltas, flat("bbox_pred", 4), absolute=1e-3)


def test_scores_and_decoded_boxes(reference, model, images, anchors):
    with torch.no_grad():
        raw = model(images)
    decoded = box.clip(box.decode(raw.deltas.numpy(), anchors, VARIANCES)) * SIZE
    close(decoded, reference["dec_boxes"], absolute=0.02)
    scores = softmax(raw.logits.numpy())[..., :-1]
    close(scores[0], reference["dec_scores_img0"], absolute=2e-4)
    close(scores.max(-1), reference["dec_scores_max"], absolute=2e-4)
    assert (scores.argmax(-1) == reference["dec_scores_argmax"]).mean() > 0.999
    close(scores.sum(1, dtype=np.float64), reference["dec_scores_sum_per_class"], absolute=2e-3)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_box_coder(reference, library):
    deltas, anchors, objects = (reference[f"coder_{name}"] for name in ("deltas", "anchors", "gt"))
    anchors, objects = anchors / np.float32(SIZE), objects / np.float32(SIZE)
    if library == "torch":
        deltas, anchors, objects = map(torch.from_numpy, (deltas, anchors, objects))
    decoded = box.decode(deltas, anchors, VARIANCES)
    # The rows at the limit of the size ratio are 4000 px wide: 1e-3 px there is beyond float32.
    close(decoded * SIZE, reference["coder_decoded_unclipped"], absolute=1e-3, relative=1e-6)
    close(box.clip(decoded) * SIZE, reference["coder_decoded_clipped"], absolute=1e-3)
    close(box.encode(objects, anchors, VARIANCES), reference["coder_encoded"], absolute=1e-3)


@pytest.mark.parametrize(("prefix", "max_per_class"), [("det", 200), ("nopre_det", 1344)])
def test_detections(reference, model, images, anchors, template, prefix, max_per_class):
    config = configuration.replace(template.postprocess, max_per_class=max_per_class)
    with torch.no_grad():
        raw = model(images)
    found = postprocess(raw.deltas.numpy(), raw.logits.numpy(), anchors, variances=VARIANCES, config=config)
    for i, detections in enumerate(found):
        expected = {name: reference[f"{prefix}{i}_{name}"] for name in ("boxes_net", "boxes_img", "scores", "labels")}
        height, width = reference["ori_shape"][i]
        assert detections.labels.tolist() == expected["labels"].tolist()
        close(detections.scores, expected["scores"], absolute=2e-4)
        close(detections.boxes * SIZE, expected["boxes_net"], absolute=0.05)
        close(detections.boxes_px(width, height), expected["boxes_img"], absolute=0.05 * max(width, height) / SIZE)


def test_matching_and_box_targets(reference, anchors):
    targets = pad(targets_of(reference, range(3)), "cpu")
    matched = match(targets, torch.from_numpy(anchors), iou_threshold=0.4)
    image, anchor = (matched != BACKGROUND).nonzero(as_tuple=True)
    assert image.tolist() == reference["pos_image"].tolist()
    assert anchor.tolist() == reference["pos_anchor"].tolist()
    learnt = matched[image, anchor]
    assert targets.labels[image, learnt].tolist() == reference["pos_label"].tolist()
    encoded = box.encode(targets.boxes[image, learnt], torch.from_numpy(anchors)[anchor], VARIANCES)
    close(encoded, reference["pos_bbox_target"], absolute=1e-3)
    assert (matched != BACKGROUND).sum(1).tolist() == reference["num_pos_per_image"].tolist()
    assert (matched != BACKGROUND).sum() == reference["num_total_pos"]


@pytest.mark.parametrize("mode", ["eval", "train", "empty"])
def test_losses(reference, model, images, anchors, template, mode):
    model.train(mode == "train")
    targets = targets_of(reference, range(3))
    if mode == "empty":
        nothing = Targets(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
        images, targets = images[:2], [targets[0], nothing]
    with torch.no_grad():
        raw = model(images)
        losses = losses_of(model, raw, targets, anchors, template)
        total_positive = sum(max(1, n) for n in positives(targets, anchors))
        per_image = [
            (losses_of(model, type(raw)(*(x[i : i + 1] for x in raw)), targets[i : i + 1], anchors, template), n)
            for i, n in enumerate(positives(targets, anchors))
        ]
    close(losses.raw_classes, reference[f"{mode}_loss_cls_raw"], relative=1e-4)
    close(losses.classes, reference[f"{mode}_loss_cls"], relative=1e-4)
    close(losses.boxes, reference[f"{mode}_loss_bbox_raw"], relative=1e-4)
    close(losses.boxes, reference[f"{mode}_loss_bbox"], relative=1e-4)
    close(losses.total, reference[f"{mode}_loss_total"], relative=1e-4)
    for name, index in (("cls", 2), ("bbox", 1)):
        shares = [float(image[index]) * max(1, n) / total_positive for image, n in per_image]
        close(shares, reference[f"{mode}_loss_{name}_raw_per_image"], relative=1e-4, absolute=1e-7)


def positives(targets, anchors):
    matched = match(pad(targets, "cpu"), torch.from_numpy(anchors), iou_threshold=0.4)
    return (matched != BACKGROUND).sum(1).tolist()


def test_gradients_and_batch_statistics(reference, model, images, anchors, template):
    model.train()
    losses_of(model, model(images), targets_of(reference, range(3)), anchors, template).total.backward()
    parameters = dict(model.named_parameters())
    assert list(parameters) == list(reference["param_names"])
    norms = np.array([float(p.grad.double().norm()) for p in parameters.values()])
    matters = reference["train_grad_norm"] > 1e-4
    assert matters.sum() > 150
    close(norms[matters], reference["train_grad_norm"][matters], relative=2e-2)
    close(model.bbox_head.loss_weights.grad, reference["train_grad_loss_weights"], relative=1e-4)
    assert model.bbox_head.loss_weights.grad[1] == 0

    layers = dict(model.named_modules())
    statistics = [layers[name] for name in reference["bn_names"]]
    means = torch.cat([layer.running_mean for layer in statistics])
    variances = torch.cat([layer.running_var for layer in statistics])
    close(means, reference["train_bn_running_mean"], absolute=1e-4)
    close(variances, reference["train_bn_running_var"], absolute=1e-4)


def test_four_steps_of_sgd(reference, model, images, anchors, template):
    model.train()
    targets = targets_of(reference, range(3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002, momentum=0.9, weight_decay=5e-4)
    for step, tolerance in enumerate((1e-4, 5e-4, 2e-3, 1e-2)):
        losses = losses_of(model, model(images), targets, anchors, template)
        close(losses.total.detach(), reference["sgd_losses"][step, 2], relative=tolerance)
        close(losses.classes.detach(), reference["sgd_losses"][step, 0], relative=tolerance)
        close(losses.boxes.detach(), reference["sgd_losses"][step, 1], relative=tolerance)
        if step < 3:
            optimizer.zero_grad()
            losses.total.backward()
            optimizer.step()
            close(model.bbox_head.loss_weights.detach(), reference["sgd_loss_weights"][step], absolute=1e-4)
