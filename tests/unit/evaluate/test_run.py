from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import yaml
from rich.console import Console

from multibox.data import coco, loader
from multibox.data.coco import CocoData, Record
from multibox.errors import DataError, OptionError
from multibox.evaluate import output_files
from multibox.evaluate.output_files import (
    detections_to_coco,
    table,
    write_detections,
    write_metrics_json,
    write_metrics_yaml,
)
from multibox.evaluate.run import ClassMetrics, Metrics, check_classes, evaluate, measure
from multibox.structures import Detections, Image

SIDE = 200  # pixels of the square images below; boxes are typed in pixels

#  Four objects of 40 x 40 pixels in the corners of the image:
#
#     A . B
#     . . .
#     C . D
A, B, C, D = (10, 10, 50, 50), (150, 10, 190, 50), (10, 150, 50, 190), (150, 150, 190, 190)
NOWHERE = (90, 90, 110, 110)

Box = tuple[float, float, float, float]


def record(
    *objects: tuple[Box, int], crowd: Sequence[int] = (), image_id: int | str = 0, source: int = 0, name: str = "0.jpg"
) -> Record:
    """An image with (box, label) objects; `crowd` holds the positions of crowds."""
    boxes_px = np.array([box for box, _ in objects], dtype=np.float64).reshape(-1, 4)
    return Record(
        path=Path(name),
        file_name=name,
        image_id=image_id,
        source=source,
        width=SIDE,
        height=SIDE,
        boxes=(boxes_px / SIDE).astype(np.float32),
        labels=np.array([label for _, label in objects], dtype=np.int64),
        is_crowd=np.isin(np.arange(len(objects)), crowd),
        boxes_px=boxes_px,
        areas_px=(boxes_px[:, 2] - boxes_px[:, 0]) * (boxes_px[:, 3] - boxes_px[:, 1]),
    )


def dataset(*records: Record, classes: tuple[str, ...] = ("cat",)) -> CocoData:
    category_ids = tuple(range(3, 3 + len(classes)))
    return CocoData(records, classes, category_ids, num_clipped=0, skipped=(), fingerprint="")


def detections(*rows: tuple[Box, float, int]) -> Detections:
    """From (box in pixels, score, label)."""
    boxes = np.array([box for box, _, _ in rows], dtype=np.float32).reshape(-1, 4) / SIDE
    scores = np.array([score for _, score, _ in rows], dtype=np.float32)
    return Detections(boxes, scores, np.array([label for _, _, label in rows], dtype=np.int64))


def perfect(one: Record) -> Detections:
    return detections(*((tuple(box), 0.9, label) for box, label in zip(one.boxes_px, one.labels.tolist(), strict=True)))


def some_metrics(**changes: Any) -> Metrics:
    metrics = Metrics(
        ap=0.34549,
        ap50=0.5,
        ap75=0.25,
        ap_small=None,
        ap_medium=0.125,
        ap_large=0.5,
        recall=0.4,
        per_class={
            "cat": ClassMetrics(ap=0.34549, ap50=0.5, recall=0.4, num_objects=7),
            "dog [old]": ClassMetrics(ap=None, ap50=None, recall=None, num_objects=0),
        },
        num_images=5,
        num_objects=7,
    )
    return replace(metrics, **changes)


# Average precision. COCO reads precision at the 101 recalls 0, 0.01, ... 1 and takes the mean.


def test_perfect_detections_have_ap_1() -> None:
    data = dataset(record((A, 0), (B, 0)), record((C, 0)))
    metrics = measure([perfect(one) for one in data.records], data)
    assert (metrics.ap, metrics.ap50, metrics.ap75, metrics.recall) == (1, 1, 1, 1)


def test_one_hit_of_two_objects() -> None:
    # Precision 1 up to recall 0.5, which are 51 of the 101 recalls.
    metrics = measure([detections((A, 0.9, 0))], dataset(record((A, 0), (B, 0))))
    assert metrics.ap == pytest.approx(51 / 101)
    assert metrics.recall == pytest.approx(0.5)


def test_false_alarm_above_the_hit_halves_ap() -> None:
    metrics = measure([detections((NOWHERE, 0.9, 0), (A, 0.8, 0))], dataset(record((A, 0))))
    assert metrics.ap == pytest.approx(0.5)


def test_false_alarm_below_all_hits_costs_nothing() -> None:
    metrics = measure([detections((A, 0.8, 0), (NOWHERE, 0.7, 0))], dataset(record((A, 0))))
    assert metrics.ap == pytest.approx(1)


def test_duplicate_is_a_false_alarm() -> None:
    # Ranked hit, duplicate, hit: precision 1 up to recall 0.5 (51 recalls), then 2/3 (50 recalls).
    found = detections((A, 0.9, 0), (A, 0.8, 0), (B, 0.7, 0))
    assert measure([found], dataset(record((A, 0), (B, 0)))).ap == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_scores_rank_detections_of_all_images_together() -> None:
    # The false alarm in the second image has the best score of all.
    data = dataset(record((A, 0)), record())
    assert measure([detections((A, 0.5, 0)), detections((NOWHERE, 0.6, 0))], data).ap == pytest.approx(0.5)


def test_right_place_with_the_wrong_class_is_no_hit() -> None:
    data = dataset(record((A, 0), (B, 1)), classes=("cat", "dog"))
    metrics = measure([detections((A, 0.9, 1), (B, 0.8, 0))], data)
    assert metrics.ap == 0
    assert metrics.recall == 0


def test_overlap_decides_at_which_thresholds_a_box_hits() -> None:
    # 40 x 40 against 40 x 31 inside it: IoU 0.775, a hit at 0.50, 0.55, ... 0.75: six of the ten thresholds.
    metrics = measure([detections(((10, 10, 50, 41), 0.9, 0))], dataset(record((A, 0))))
    assert metrics.ap == pytest.approx(0.6)
    assert (metrics.ap50, metrics.ap75) == (1, 1)


def test_box_in_a_crowd_is_neither_hit_nor_false_alarm() -> None:
    crowd = (100, 100, 200, 200)
    data = dataset(record((A, 0), (crowd, 0), crowd=[1]))
    metrics = measure([detections((D, 0.9, 0), (D, 0.8, 0), (A, 0.7, 0))], data)
    assert metrics.ap == 1
    assert metrics.num_objects == 1
    assert metrics.per_class["cat"].num_objects == 1


def test_class_with_crowds_only_has_no_metrics() -> None:
    data = dataset(record((A, 0), (B, 1), crowd=[1]), classes=("cat", "dog"))
    metrics = measure([detections((A, 0.9, 0), (NOWHERE, 0.9, 1))], data)
    assert metrics.per_class["dog"] == ClassMetrics(ap=None, ap50=None, recall=None, num_objects=0)
    assert metrics.ap == 1


def test_first_annotation_of_a_set_counted_from_0_keeps_its_hit(tmp_path: Path) -> None:
    """COCO's matcher takes annotation 0 for "no match": passed on as it is, this hit would be lost."""
    data = read_coco(tmp_path, annotations=[{"id": 0, "image_id": 0, "category_id": 0, "bbox": [10, 10, 40, 40]}])
    assert measure([detections((A, 0.9, 0))], data).ap == 1


def test_class_without_objects_does_not_count_in_the_mean() -> None:
    data = dataset(record((A, 0)), classes=("cat", "dog"))
    metrics = measure([detections((A, 0.9, 0), (NOWHERE, 0.95, 1))], data)
    assert metrics.ap == 1
    assert metrics.per_class["cat"] == ClassMetrics(ap=1, ap50=1, recall=1, num_objects=1)
    assert metrics.per_class["dog"] == ClassMetrics(ap=None, ap50=None, recall=None, num_objects=0)


def test_mean_over_classes_weighs_rare_and_frequent_alike() -> None:
    data = dataset(record((A, 0), (B, 0), (C, 0), (D, 1)), classes=("cat", "dog"))
    metrics = measure([detections((A, 0.9, 0), (B, 0.9, 0), (C, 0.9, 0))], data)
    assert metrics.per_class["cat"].ap == 1
    assert metrics.per_class["dog"].ap == 0
    assert metrics.ap == pytest.approx(0.5)


def test_per_class_metrics_follow_the_order_of_the_classes() -> None:
    data = dataset(record((A, 2), (B, 0)), classes=("zebra", "ant", "mouse"))
    metrics = measure([detections((A, 0.9, 2))], data)
    assert list(metrics.per_class) == ["zebra", "ant", "mouse"]
    assert [one.ap for one in metrics.per_class.values()] == [0, None, 1]


def test_sizes_are_told_apart_by_area() -> None:
    # 31 x 31 = 961 < 32²; 40 x 40 between 32² and 96²; 97 x 97 = 9409 > 96²
    small, medium, large = (0, 0, 31, 31), A, (100, 100, 197, 197)
    data = dataset(record((small, 0)), record((medium, 0)), record((large, 0)))
    metrics = measure([detections((small, 0.9, 0)), detections(), detections((large, 0.9, 0))], data)
    assert (metrics.ap_small, metrics.ap_medium, metrics.ap_large) == (1, 0, 1)


def test_size_without_objects_is_none() -> None:
    metrics = measure([detections((A, 0.9, 0))], dataset(record((A, 0))))
    assert (metrics.ap_small, metrics.ap_medium, metrics.ap_large) == (None, 1, None)


def test_no_detections_at_all_give_0() -> None:
    metrics = measure([detections(), detections()], dataset(record((A, 0)), record()))
    assert (metrics.ap, metrics.ap50, metrics.ap75, metrics.recall) == (0, 0, 0, 0)
    assert metrics.per_class["cat"].ap == 0


def test_no_objects_at_all_give_none() -> None:
    metrics = measure([detections((A, 0.9, 0))], dataset(record()))
    assert metrics == Metrics(
        ap=None,
        ap50=None,
        ap75=None,
        ap_small=None,
        ap_medium=None,
        ap_large=None,
        recall=None,
        per_class={"cat": ClassMetrics(ap=None, ap50=None, recall=None, num_objects=0)},
        num_images=1,
        num_objects=0,
    )


def test_box_of_no_area_is_measured_as_a_miss() -> None:
    assert measure([detections(((20, 20, 20, 20), 0.9, 0))], dataset(record((A, 0)))).ap == 0


def test_detections_beyond_100_of_a_class_in_an_image_do_not_count() -> None:
    clutter = [(NOWHERE, 0.9, 0)] * 100
    data = dataset(record((A, 0)))
    assert measure([detections(*clutter[1:], (A, 0.5, 0))], data).ap == pytest.approx(0.01)
    assert measure([detections(*clutter, (A, 0.5, 0))], data).ap == 0


def test_measuring_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    measure([detections((A, 0.9, 0))], dataset(record((A, 0))))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_number_is_that_of_pycocotools(seed: int) -> None:
    data, found = random_problem(seed)
    expected = pycocotools_reference(data, found)
    metrics = measure(found, data)
    totals = (metrics.ap, metrics.ap50, metrics.ap75, metrics.ap_small, metrics.ap_medium, metrics.ap_large)
    # pycocotools: six AP, then recall with at most 1, 10 and 100 detections
    np.testing.assert_allclose([*totals, metrics.recall], [*expected.stats[:6], expected.stats[8]], rtol=0, atol=1e-12)
    precision, recall = expected.eval["precision"], expected.eval["recall"]
    for label, one in enumerate(metrics.per_class.values()):
        numbers = [one.ap, one.ap50, one.recall]
        if one.num_objects == 0:
            assert numbers == [None, None, None]
            assert (precision[:, :, label, 0, 2] == -1).all()
            continue
        reference = [
            precision[:, :, label, 0, 2].mean(),
            precision[0, :, label, 0, 2].mean(),
            recall[:, label, 0, 2].mean(),
        ]
        np.testing.assert_allclose(numbers, reference, rtol=0, atol=1e-12)


def random_problem(seed: int) -> tuple[CocoData, list[Detections]]:
    """60 images with up to 12 objects of 6 classes (one of them never annotated), 5 % crowds, and 120 detections."""
    rng = np.random.default_rng(seed)
    records, found = [], []
    for index in range(60):
        num_objects = int(rng.integers(0, 13))
        width, height = (int(side) for side in rng.integers(150, 700, 2))
        scale = np.array([width, height, width, height], dtype=np.float64)
        boxes = random_boxes(rng, num_objects)
        labels = rng.integers(0, 5, num_objects)
        records.append(
            Record(
                path=Path(f"{index}.jpg"),
                file_name=f"{index}.jpg",
                image_id=index,
                source=0,
                width=width,
                height=height,
                boxes=boxes.astype(np.float32),
                labels=labels,
                is_crowd=rng.random(num_objects) < 0.05,
                boxes_px=boxes * scale,
                areas_px=np.prod((boxes[:, 2:] - boxes[:, :2]) * scale[:2], axis=1),
            )
        )
        near = boxes.repeat(3, axis=0) + rng.normal(0, 0.01, (3 * num_objects, 4))
        all_boxes = np.concatenate([near, random_boxes(rng, 120 - len(near))])
        all_labels = np.concatenate([labels.repeat(3), rng.integers(0, 6, 120 - len(near))])
        scores = rng.integers(1, 50, 120) / 50  # many equal scores: their order counts, too
        order = np.argsort(-scores, kind="stable")
        found.append(
            Detections(all_boxes[order].astype(np.float32), scores[order].astype(np.float32), all_labels[order])
        )
    classes = tuple("abcdef")
    return CocoData(tuple(records), classes, tuple(range(6)), num_clipped=0, skipped=(), fingerprint=""), found


def random_boxes(rng: np.random.Generator, number: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    corners = rng.uniform(0, 0.7, (number, 2))
    return np.concatenate([corners, corners + np.exp(rng.uniform(np.log(0.02), np.log(0.3), (number, 2)))], axis=1)


def pycocotools_reference(data: CocoData, found: Sequence[Detections]) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    objects, output_files = [], []
    for number, (one, result) in enumerate(zip(data.records, found, strict=True), start=1):
        for (x1, y1, x2, y2), label, area, is_crowd in zip(
            one.boxes_px, one.labels, one.areas_px, one.is_crowd, strict=True
        ):
            box = [x1, y1, x2 - x1, y2 - y1]
            entry = {"image_id": number, "category_id": int(label) + 1, "bbox": box, "area": area}
            objects.append({**entry, "id": len(objects) + 1, "iscrowd": int(is_crowd)})
        for box, score, label in zip(result.boxes.astype(np.float64), result.scores, result.labels, strict=True):
            x1, y1, x2, y2 = box * [one.width, one.height, one.width, one.height]
            entry = {"image_id": number, "category_id": int(label) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            output_files.append({**entry, "score": float(score)})
    with redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": number + 1, "width": 1, "height": 1} for number in range(len(data.records))],
            "categories": [{"id": label + 1} for label in range(len(data.classes))],
            "annotations": objects,
        }
        truth.createIndex()
        evaluator = COCOeval(truth, truth.loadRes(output_files), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


# A runtime on a data set.


def read_coco(folder: Path, *, annotations: list[dict[str, Any]], num_images: int = 1) -> CocoData:
    """A data set on disk: images 0.png, 1.png, ... whose brightness is their number; one class with id 0."""
    images = []
    for number in range(num_images):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((SIDE, SIDE, 3), number, dtype=np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", "width": SIDE, "height": SIDE})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 0, "name": "cat"}]}
    (folder / "annotations.json").write_text(json.dumps(content))
    return coco.read([folder / "annotations.json"], [folder])


class BrightnessRuntime:
    """Finds box A with a score of a tenth of the image's brightness."""

    classes = ("cat",)
    input_size = 64

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        return list(self.stream(images))

    def stream(self, images: Iterable[Image]) -> Iterator[Detections]:
        for image in images:
            yield detections((A, image[0, 0, 0] / 10, 0))


class EagerRuntime(BrightnessRuntime):
    """Takes all images before it gives a result, and keeps how many those were."""

    def __init__(self) -> None:
        self.streams: list[int] = []

    def stream(self, images: Iterable[Image]) -> Iterator[Detections]:
        taken = list(images)
        self.streams.append(len(taken))
        yield from super().stream(taken)


def test_evaluation_pairs_up_detections_with_records(tmp_path: Path) -> None:
    objects = [{"id": i, "image_id": i, "category_id": 0, "bbox": [10, 10, 40, 40]} for i in range(5)]
    evaluation = evaluate(BrightnessRuntime(), read_coco(tmp_path, annotations=objects, num_images=5))
    assert [found.scores.item() for found in evaluation.detections] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert evaluation.metrics.ap == 1
    assert evaluation.metrics.num_images == 5


def test_evaluation_tells_of_progress_and_of_each_image(tmp_path: Path) -> None:
    data = read_coco(tmp_path, annotations=[], num_images=5)
    progress: list[int] = []
    seen: list[tuple[str, tuple[int, ...], int, float]] = []

    def on_image(one: Record, image: Image, found: Detections) -> None:
        seen.append((one.file_name, image.shape, int(image[0, 0, 0]), round(found.scores.item(), 3)))

    evaluate(BrightnessRuntime(), data, progress=progress.append, on_image=on_image)
    assert sum(progress) == 5
    assert seen == [(f"{i}.png", (SIDE, SIDE, 3), i, i / 10) for i in range(5)]


def test_drawing_does_not_keep_the_runtime_waiting(tmp_path: Path) -> None:
    """The first image is drawn until the last is detected in: one after the other, this would never end."""
    data = read_coco(tmp_path, annotations=[], num_images=5)
    progress: list[int] = []
    all_done = threading.Event()
    waited: list[bool] = []

    def count(number: int) -> None:
        progress.append(number)
        if sum(progress) == 5:
            all_done.set()

    evaluate(BrightnessRuntime(), data, progress=count, on_image=lambda *_: waited.append(all_done.wait(timeout=20)))
    assert waited == [True] * 5


@pytest.mark.parametrize("runtime", [BrightnessRuntime(), EagerRuntime()])
def test_after_a_drawing_that_fails_none_is_made(tmp_path: Path, runtime: BrightnessRuntime) -> None:
    data = read_coco(tmp_path, annotations=[], num_images=5)
    drawn: list[str] = []

    def on_image(one: Record, image: Image, found: Detections) -> None:
        drawn.append(one.file_name)
        if one.file_name == "1.png":
            raise OptionError("the disk is full")

    with pytest.raises(OptionError, match="the disk is full"):
        evaluate(runtime, data, on_image=on_image)
    assert drawn == ["0.png", "1.png"]
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("multibox")] == []


def test_large_images_are_detected_in_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many images a runtime takes at once, full-size images of so many pixels at most wait to be drawn."""
    monkeypatch.setattr(loader, "MAX_PIXELS_PER_BATCH", 2 * SIDE * SIDE)
    data = read_coco(tmp_path, annotations=[], num_images=5)
    seen: list[int] = []
    runtime = EagerRuntime()
    found = evaluate(runtime, data, on_image=lambda _, image, __: seen.append(int(image[0, 0, 0])))
    assert runtime.streams == [2, 2, 1]
    assert seen == [0, 1, 2, 3, 4]
    assert [one.scores.item() for one in found.detections] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_an_empty_data_set_is_evaluated(tmp_path: Path) -> None:
    found = evaluate(BrightnessRuntime(), dataset(), on_image=lambda *_: None)
    assert found.detections == ()
    assert found.metrics.ap is None


def test_an_image_that_has_gone_stops_the_evaluation_with_its_name(tmp_path: Path) -> None:
    data = read_coco(tmp_path, annotations=[], num_images=5)
    (tmp_path / "3.png").unlink()
    with pytest.raises(DataError, match=r"3\.png: the image is missing"):
        evaluate(BrightnessRuntime(), data, on_image=lambda *_: None)


def test_data_with_other_classes_than_the_runtime_is_a_programming_error() -> None:
    with pytest.raises(AssertionError, match="runtime"):
        evaluate(BrightnessRuntime(), dataset(record((A, 0)), classes=("dog",)))


# Classes.


@pytest.mark.parametrize("requested", [None, (), ["cat", "dog"]])
def test_classes_are_those_of_the_checkpoint(requested: list[str] | None) -> None:
    assert check_classes(["cat", "dog"], requested) == ("cat", "dog")


def test_classes_that_the_annotations_lack_are_accepted() -> None:
    assert check_classes(["cat", "dog"], None) == ("cat", "dog")


@pytest.mark.parametrize(
    ("requested", "difference"),
    [
        (["vehicle", "person"], "--classes names 2."),
        (["person", "vehicle", "non-vehicle"], "--classes has them in another order."),
        (["vehicle", "person", "bike"], "--classes names vehicle, person, bike."),
    ],
)
def test_other_classes_than_the_checkpoint_has_are_refused(requested: list[str], difference: str) -> None:
    classes = ["vehicle", "person", "non-vehicle"]
    with pytest.raises(OptionError) as caught:
        check_classes(classes, requested)
    assert str(caught.value) == (
        f"The checkpoint knows 3 classes (vehicle, person, non-vehicle); {difference} "
        "Leave --classes out to use the checkpoint's."
    )


# Files.


def test_metrics_yaml_is_the_originals_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outputs").mkdir()
    Path("outputs/epoch_15.pth").write_bytes(b"weights")
    Path("outputs/latest.pth").symlink_to("epoch_15.pth")
    write_metrics_yaml(
        "metrics.yaml",
        weights_path="outputs/latest.pth",
        metrics=some_metrics(),
        size_mp=1.84,
        complexity_gflops=0.82,
    )
    assert Path("metrics.yaml").read_bytes().decode() == (
        "files:\n"
        "- name: epoch_15.pth\n"
        f"  sha256: {hashlib.sha256(b'weights').hexdigest()}\n"
        "  size: 7\n"
        "  source: outputs/epoch_15.pth\n"
        "metrics:\n"
        "- display_name: Size\n"
        "  key: size\n"
        "  unit: Mp\n"
        "  value: 1.84\n"
        "- display_name: Complexity\n"
        "  key: complexity\n"
        "  unit: GFLOPs\n"
        "  value: 0.82\n"
        "- display_name: AP @ [IoU=0.50:0.95]\n"
        "  key: bbox\n"
        "  unit: '%'\n"
        "  value: 34.5\n"
    )


@pytest.mark.parametrize(
    ("ap", "line"),
    [
        (0.0, "value: 0.0"),
        (1.0, "value: 100.0"),
        (0.3456, "value: 34.6"),
        (0.289, "value: 28.9"),  # 100 * 0.289 is 28.899999999999995
        (None, "value: null"),
    ],
)
def test_ap_is_written_in_percent_with_one_decimal(tmp_path: Path, ap: float | None, line: str) -> None:
    write_some_yaml(tmp_path / "metrics.yaml", some_metrics(ap=ap))
    assert (tmp_path / "metrics.yaml").read_text().splitlines()[-1].strip() == line


def test_missing_ap_is_told_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_some_yaml(tmp_path / "metrics.yaml", some_metrics(ap=None))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "AP is null, because the data has no object of the model's classes.\n" in printed.err


def test_other_keys_of_an_existing_file_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "metrics.yaml"
    path.write_text("note: mine\nfiles: [old]\nmetrics: [old]\n")
    write_some_yaml(path, some_metrics())
    content = yaml.safe_load(path.read_text())
    assert list(content) == ["files", "metrics", "note"]
    assert content["note"] == "mine"
    assert "old" not in path.read_text()


def test_empty_existing_file_is_filled(tmp_path: Path) -> None:
    (tmp_path / "metrics.yaml").touch()
    write_some_yaml(tmp_path / "metrics.yaml", some_metrics())
    assert len(yaml.safe_load((tmp_path / "metrics.yaml").read_text())["metrics"]) == 3


@pytest.mark.parametrize("content", [b"a: [", b"just text", b"- 1\n- 2\n", b"\xff\xfe"])
def test_broken_existing_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "metrics.yaml"
    path.write_bytes(content)
    with pytest.raises(OptionError, match=r"metrics\.yaml: the existing file is no .* Move it away") as caught:
        write_some_yaml(path, some_metrics())
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_some_yaml(tmp_path / "a/b/metrics.yaml", some_metrics())
    assert (tmp_path / "a/b/metrics.yaml").is_file()


def test_unwritable_file_is_an_option_error(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(OptionError, match=r"metrics\.json: cannot write the file"):
        write_metrics_json(
            tmp_path / "a/metrics.json",
            weights_path=weights(tmp_path),
            metrics=some_metrics(),
            size_mp=1.0,
            complexity_gflops=1.0,
        )


def test_missing_weights_are_an_option_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"none\.pth: cannot read the weights"):
        write_metrics_yaml(
            tmp_path / "metrics.yaml",
            weights_path=tmp_path / "none.pth",
            metrics=some_metrics(),
            size_mp=1.0,
            complexity_gflops=1.0,
        )


def test_exported_model_is_reported_by_the_name_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"12345")
    write_metrics_yaml(
        tmp_path / "metrics.yaml",
        weights_path=tmp_path / "model.bin",
        metrics=some_metrics(),
        size_mp=None,
        complexity_gflops=None,
    )
    content = yaml.safe_load((tmp_path / "metrics.yaml").read_text())
    assert (content["files"][0]["name"], content["files"][0]["size"]) == ("model.bin", 5)
    assert [metric["value"] for metric in content["metrics"]] == [None, None, 34.5]


def test_metrics_json_holds_all_numbers(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_metrics_json(
        path, weights_path=weights(tmp_path), metrics=some_metrics(), size_mp=1.84, complexity_gflops=0.82
    )
    content = json.loads(path.read_text())
    assert list(content) == ["files", "size_mp", "complexity_gflops", "metrics"]
    assert content["metrics"]["ap"] == 0.34549
    assert content["metrics"]["ap_small"] is None
    assert content["metrics"]["per_class"]["cat"] == {"ap": 0.34549, "ap50": 0.5, "recall": 0.4, "num_objects": 7}


def test_what_is_not_measured_is_said_and_written(tmp_path: Path) -> None:
    data = replace(dataset(record()), unchosen={"alien": 3, "Cat": 1}, areas_from_boxes=2)

    assert output_files.limits(data) == [
        "Not measured, because the model has no such class: alien (3) and Cat (1, meant cat?).",
        "2 objects annotated with an area of 0 or less: AP of small, medium and large objects takes the areas of their "
        "boxes.",
    ]
    path = tmp_path / "metrics.json"
    write_metrics_json(
        path, weights_path=weights(tmp_path), metrics=some_metrics(), size_mp=1.84, complexity_gflops=0.82, data=data
    )
    content = json.loads(path.read_text())
    assert content["not_measured"] == {"objects_of_other_classes": {"alien": 3, "Cat": 1}, "crowds": 0}
    assert content["areas_from_boxes"] == 2


def test_data_of_crowds_only_is_said_to_be_nothing_to_measure_on() -> None:
    plain, crowd = record((A, 0)), record((A, 0), crowd=[0])

    assert output_files.limits(dataset(crowd)) == [
        "Flagged as crowds (iscrowd), and so neither for nor against: 1 box; there is nothing else to measure on."
    ]
    assert output_files.limits(dataset(plain, crowd)) == [
        "Flagged as crowds (iscrowd), and so neither for nor against: 1 box."
    ]
    assert output_files.limits(dataset(plain)) == []


def test_metrics_of_nothing_are_valid_json() -> None:
    metrics = measure([detections()], dataset(record()))
    assert json.loads(json.dumps(metrics.to_plain(), allow_nan=False))["ap"] is None


def test_detections_have_the_ids_of_the_data_set(tmp_path: Path) -> None:
    data = dataset(record(image_id=17), record(image_id="b"), classes=("cat", "dog"))
    found = [detections((A, 0.123456789, 1)), detections(((0.1234567, 0, 100, 200), 0.5, 0))]
    write_detections(tmp_path / "detections.json", found, data)
    assert json.loads((tmp_path / "detections.json").read_text()) == [
        {"image_id": 17, "category_id": 4, "bbox": [10, 10, 40, 40], "score": 0.123457},
        {"image_id": "b", "category_id": 3, "bbox": [0.123, 0, 99.877, 200], "score": 0.5},
    ]


def test_images_with_one_id_in_two_files_are_told_apart() -> None:
    data = dataset(record(image_id=1, source=0, name="a/0.jpg"), record(image_id=1, source=1, name="0.jpg"))
    output_files = detections_to_coco([detections((A, 0.5, 0)), detections((B, 0.5, 0))], data)
    assert [(entry["file_name"], entry["source"]) for entry in output_files] == [("a/0.jpg", 0), ("0.jpg", 1)]


def test_written_detections_measure_the_same(tmp_path: Path) -> None:
    data, found = random_problem(0)
    write_detections(tmp_path / "detections.json", found, data)
    entries = msgspec.json.decode((tmp_path / "detections.json").read_bytes())
    assert len(entries) == 60 * 120
    again = []
    for one in data.records:
        rows = [entry for entry in entries if entry["image_id"] == one.image_id]
        corners = np.array([entry["bbox"] for entry in rows])
        corners[:, 2:] += corners[:, :2]
        again.append(
            Detections(
                (corners / [one.width, one.height, one.width, one.height]).astype(np.float32),
                np.array([entry["score"] for entry in rows], dtype=np.float32),
                np.array([entry["category_id"] for entry in rows]),
            )
        )
    assert measure(again, data).ap == pytest.approx(measure(found, data).ap, abs=1e-3)


def test_table_shows_percent_and_a_dash_where_nothing_was_measured() -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(table(some_metrics()))
    lines = [line.replace("│", " ").split() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert ["all", "34.5", "50.0", "25.0", "-", "12.5", "50.0", "40.0", "7"] in lines
    assert ["cat", "34.5", "50.0", "40.0", "7"] in lines
    assert ["dog", "[old]", "-", "-", "-", "0"] in lines


def weights(folder: Path) -> Path:
    path = folder / "model.pth"
    path.write_bytes(b"weights")
    return path


def write_some_yaml(path: Path, metrics: Metrics) -> None:
    (path.parent.parent / "weights").mkdir(parents=True, exist_ok=True)
    weights_path = weights(path.parent.parent / "weights")
    output_files.write_metrics_yaml(
        path, weights_path=weights_path, metrics=metrics, size_mp=1.84, complexity_gflops=0.82
    )
