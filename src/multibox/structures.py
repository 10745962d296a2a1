"""The values that cross a file boundary: ground truth, raw network output, detections. No torch needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

Image = NDArray[np.uint8]
"""An image (H, W, 3) of any size; the channels are blue, green, red."""

DEFAULT_THRESHOLD = 0.3
"""Score from which detections are shown where neither a user nor the model's file names another one."""


class RawOutput(NamedTuple):
    """What the network returns, in training and in evaluation alike, for B images, A anchors and K classes.

    `deltas` (B, A, 4): box offsets relative to the anchors, in units of the variances.
    `logits` (B, A, K + 1): class scores before softmax; the last column is background.
    """

    deltas: Tensor
    logits: Tensor


@dataclass(frozen=True, slots=True)
class Targets:
    """Ground truth of one image.

    `boxes` (N, 4): corners (x1, y1, x2, y2), float32 fractions of image width and height.
    `labels` (N,): int64 class indices, 0..K-1 in the order of the model's classes.
    """

    boxes: FloatArray
    labels: IntArray

    def __post_init__(self) -> None:
        _check_rows(self.boxes, self.labels)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Detections:
    """Result for one image, best score first.

    `boxes` (N, 4): corners (x1, y1, x2, y2), float32 fractions of image width and height.
    `scores` (N,): float32 probabilities. `labels` (N,): int64 class indices, 0..K-1.
    """

    boxes: FloatArray
    scores: FloatArray
    labels: IntArray

    def __post_init__(self) -> None:
        _check_rows(self.boxes, self.labels)
        assert self.scores.shape == self.labels.shape, f"scores {self.scores.shape}, labels {self.labels.shape}"

    def __len__(self) -> int:
        return len(self.labels)

    def above(self, threshold: float | None) -> Detections:
        """The detections with a score of at least `threshold`, which is `DEFAULT_THRESHOLD` if it is None.

        A runtime's own `threshold`, which is None where its file recommends none, can be given as it is.
        """
        keep = self.scores >= (DEFAULT_THRESHOLD if threshold is None else threshold)
        return Detections(self.boxes[keep], self.scores[keep], self.labels[keep])

    def boxes_px(self, width: int, height: int) -> FloatArray:
        """Boxes in pixels of an image of this size."""
        return self.boxes * np.array([width, height, width, height], dtype=np.float32)

    def corner_and_size_px(self, width: int, height: int) -> NDArray[np.float64]:
        """(N, 4): x, y, width, height in pixels of an image of this size, as COCO has them."""
        corners = self.boxes.astype(np.float64) * [width, height, width, height]
        return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def shown_from(chosen: float | None, recommended: float | None) -> tuple[float, str]:
    """The score from which detections are shown, and in words where it is from.

    What a user chose comes first, then what the model's file recommends, then `DEFAULT_THRESHOLD`.
    """
    if chosen is not None:
        return chosen, "as given"
    if recommended is not None:
        return recommended, "which the model's file recommends"
    return DEFAULT_THRESHOLD, "the default: the model's file recommends none"


def _check_rows(boxes: NDArray[Any], labels: NDArray[Any]) -> None:
    assert boxes.ndim == 2 and boxes.shape[1] == 4, f"boxes must be (N, 4), not {boxes.shape}"
    assert labels.shape == boxes.shape[:1], f"labels {labels.shape} do not pair up with boxes {boxes.shape}"
