"""A runtime on a data set: what pairs up with what, in which order, and what ends it; the classes to evaluate."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from multibox.data import loader
from multibox.data.coco import Record
from multibox.errors import DataError, OptionError
from multibox.evaluate.run import check_classes, evaluate
from multibox.structures import Detections, Image
from tests.coco_case import SIDE, A, dataset, detections, read_coco, record


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
