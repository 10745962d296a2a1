from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from multibox.runtime.protocol import CheckedRuntime
from multibox.structures import Detections, Image


class Brightness(CheckedRuntime):
    """Finds one object in every image, whose score is the value of the first pixel in per cent."""

    def detect_all(self, images: Sequence[Image]) -> list[Detections]:
        scores = [np.array([image[0, 0, 0] / 100], dtype=np.float32) for image in images]
        box, label = np.array([[0, 0, 1, 1]], dtype=np.float32), np.array([0])
        return [Detections(box, score, label) for score in scores]


def picture(value: int) -> Image:
    return np.full((4, 6, 3), value, dtype=np.uint8)


def test_one_image_gives_its_detections() -> None:
    found = Brightness()(picture(50))

    assert isinstance(found, Detections)
    assert found.scores.tolist() == [0.5]


@pytest.mark.parametrize("values", [[], [25], [25, 50, 75]])
def test_several_images_give_a_list(values: list[int]) -> None:
    found = Brightness()([picture(value) for value in values])

    assert [one.scores.tolist() for one in found] == [[value / 100] for value in values]


def test_an_array_of_images_is_several() -> None:
    found = Brightness()(np.stack([picture(25), picture(50)]))

    assert [one.scores.tolist() for one in found] == [[0.25], [0.5]]


@pytest.mark.parametrize(
    ("image", "what"),
    [
        (np.zeros((4, 6), np.uint8), r"\(4, 6\) of uint8"),  # grey
        (np.zeros((4, 6, 4), np.uint8), r"\(4, 6, 4\) of uint8"),  # with transparency
        (np.zeros((4, 6, 3), np.float32), r"\(4, 6, 3\) of float32"),
        (np.zeros((0, 6, 3), np.uint8), r"\(0, 6, 3\) of uint8"),
    ],
)
def test_what_is_no_image_is_refused(image: np.ndarray, what: str) -> None:
    for call in (image, [picture(1), image]):
        with pytest.raises(ValueError, match=rf"an image must be \(H, W, 3\) of uint8, BGR, not {what}"):
            Brightness()(call)


def test_an_image_that_opencv_could_not_read_is_refused() -> None:
    with pytest.raises(ValueError, match=r"an image must be a numpy array \(H, W, 3\) of uint8, not NoneType"):
        Brightness()([None])  # type: ignore[list-item]


def test_a_runtime_without_detections_cannot_be_made() -> None:
    class Idle(CheckedRuntime):
        pass

    with pytest.raises(TypeError, match="detect_all"):
        Idle()  # type: ignore[abstract]
