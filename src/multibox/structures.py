"""The values that cross a file boundary: ground truth, raw network output, detections. No torch needed."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from multibox.errors import DependencyError, OptionError
from multibox.wording import counted, listed, quoted, visible

if TYPE_CHECKING:
    from torch import Tensor

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

Image = NDArray[np.uint8]
"""An image (H, W, 3) of any size; the channels are blue, green, red."""

DEFAULT_THRESHOLD = 0.3
"""Score from which detections are shown where neither a user nor the model's file names another one."""


Rows = slice | Sequence[int] | Sequence[bool] | NDArray[Any]
"""Which rows of a result: a slice, positions, or a truth value for each."""

NUM_IN_REPR = 5
"""Number of objects that a console shows of a result."""

NUM_IN_TABLE = 20
"""Number of objects that a notebook lists below the image."""

NOTEBOOK_PX = 1024
"""Longer side in pixels of what a notebook shows: a photograph as it is would make the notebook's file large."""

GREY = 200
"""Brightness of the background of a drawing whose image is gone."""


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


class Detection(NamedTuple):
    """One object that was found: `found[0]`, or what a loop over `found` gives.

    `name`: its class. `score`: from 0 to 1. `box`: corners (x1, y1, x2, y2) as fractions of image width and height.
    `box_px`: corners in pixels, to a thousandth; None where nothing says how large the image is. `label`: the number of
    the class.

    >>> best = found[0]
    >>> best.name, best.box_px
    ('cat', (10.0, 20.0, 60.0, 50.0))
    """

    name: str
    score: float
    box: tuple[float, float, float, float]
    box_px: tuple[float, float, float, float] | None
    label: int


class Pixels(Protocol):
    """Where the image that was looked at can be had again."""

    def read(self) -> Image | None:
        """The image, or None if it is gone."""


@dataclass(frozen=True, slots=True, repr=False)
class Detections:
    """Result for one image, best score first.

    `boxes` (N, 4): corners (x1, y1, x2, y2), float32 fractions of image width and height.
    `scores` (N,): float32 probabilities. `labels` (N,): int64 class indices, 0..K-1.

    What a detector returns also knows, where others may leave it out: `size`, width and height of the image in pixels;
    `classes`, their names in the order of the labels; `threshold`, the score from which drawings show an object, None
    for `DEFAULT_THRESHOLD`; `source`, the path or address of the image, empty for an array; `pixels`, where the image
    can be had again. An array is not kept alive for that.

    It is a sequence: `len(found)`, `found[0]` (a `Detection`), loops over it; and what it is cut to is the same again:
    `found[:3]`, `found[found.scores > 0.5]`, `found[[2, 0]]`. In a notebook it shows the image with the boxes.

    >>> import numpy as np
    >>> boxes = np.array([[0.1, 0.4, 0.6, 1.0], [0.5, 0.2, 0.9, 0.6]], np.float32)
    >>> found = Detections(
    ...     boxes, np.array([0.9, 0.4], np.float32), np.array([0, 1]), size=(100, 50), classes=("cat", "dog")
    ... )
    >>> found
    Detections(2 objects: cat 0.90, dog 0.40; image 100x50)
    >>> found[found.scores > 0.5]
    Detections(1 object: cat 0.90; image 100x50)
    >>> for one in found:
    ...     print(one.name, one.box_px)
    cat (10.0, 20.0, 60.0, 50.0)
    dog (50.0, 10.0, 90.0, 30.0)
    """

    boxes: FloatArray
    scores: FloatArray
    labels: IntArray
    size: tuple[int, int] | None = None
    classes: tuple[str, ...] | None = None
    threshold: float | None = None
    source: str = ""
    pixels: Pixels | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _check_rows(self.boxes, self.labels)
        assert self.scores.shape == self.labels.shape, f"scores {self.scores.shape}, labels {self.labels.shape}"

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Detection]:
        return (self[position] for position in range(len(self)))

    @overload
    def __getitem__(self, chosen: int) -> Detection: ...

    @overload
    def __getitem__(self, chosen: Rows) -> Detections: ...

    def __getitem__(self, chosen: int | Rows) -> Detection | Detections:
        if isinstance(chosen, int | np.integer):
            box, label = self.boxes[chosen].astype(np.float64), int(self.labels[chosen])
            box_px = _corners((box * [*self.size, *self.size]).round(3)) if self.size is not None else None
            return Detection(self._name(label), float(self.scores[chosen]), _corners(box), box_px, label)
        if isinstance(chosen, slice):
            return self._cut(chosen)
        rows = np.asarray(chosen)
        return self._cut(rows if rows.size else rows.astype(np.int64))

    def __repr__(self) -> str:
        shown = [f"{one.name} {one.score:.2f}" for one in self[:NUM_IN_REPR]]
        shown += [f"{len(self) - NUM_IN_REPR} more"] if len(self) > NUM_IN_REPR else []
        objects = f"{counted(len(self), 'object')}{': ' if shown else ''}{', '.join(shown)}"
        size = f"; image {self.size[0]}x{self.size[1]}" if self.size is not None else ""
        return visible(f"Detections({objects}{size})")

    @property
    def names(self) -> list[str]:
        """The name of the class of each object.

        >>> " and ".join(found.names)
        'cat and dog'
        """
        return [self._name(label) for label in self.labels.tolist()]

    def above(self, threshold: float | None) -> Detections:
        """The detections with a score of at least `threshold`, which is `DEFAULT_THRESHOLD` if it is None.

        A runtime's own `threshold`, which is None where its file recommends none, can be given as it is.

        >>> found.above(0.5)
        Detections(1 object: cat 0.90; image 100x50)
        """
        return self._cut(self.scores >= (DEFAULT_THRESHOLD if threshold is None else threshold))

    def only(self, *names: str) -> Detections:
        """The detections of these classes.

        Raises:
            OptionError: there is no such class.

        >>> found.only("dog")
        Detections(1 object: dog 0.40; image 100x50)
        """
        known = self.classes if self.classes is not None else tuple(self.names)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise OptionError(f"There is no class {listed(map(quoted, unknown))}. There are {listed(known)}.")
        return self._cut(np.array([name in names for name in self.names], dtype=np.bool_))

    def boxes_px(self, width: int | None = None, height: int | None = None) -> FloatArray:
        """Corners (N, 4) in pixels of an image of this size, by default the one that was looked at.

        Raises:
            ValueError: no size is given, and none is known.

        >>> found.boxes_px().round().tolist()
        [[10.0, 20.0, 60.0, 50.0], [50.0, 10.0, 90.0, 30.0]]
        """
        width, height = self._size(width, height)
        return self.boxes * np.array([width, height, width, height], dtype=np.float32)

    def corner_and_size_px(self, width: int | None = None, height: int | None = None) -> NDArray[np.float64]:
        """(N, 4): x, y, width, height in pixels, as COCO has them; of an image of this size, as in `boxes_px`.

        >>> found.corner_and_size_px().round().tolist()
        [[10.0, 20.0, 50.0, 30.0], [50.0, 10.0, 40.0, 20.0]]
        """
        width, height = self._size(width, height)
        corners = self.boxes.astype(np.float64) * [width, height, width, height]
        return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)

    def plot(self, image: Image | None = None, *, threshold: float | None = None) -> Image:
        """A BGR drawing of the objects from `threshold` on, on the image that was looked at, or another one.

        By default, the model's own threshold holds; what was cut to (`found[:3]`, `found.above(0.1)`) is drawn whole.
        Where the image is gone, the background is grey.

        Raises:
            ValueError: no image is given, and not even its size is known.

        >>> found.plot().shape
        (50, 100, 3)
        """
        from multibox.drawing import draw

        names = self.classes or tuple(f"class {label}" for label in range(int(self.labels.max(initial=-1)) + 1))
        return draw(
            self._background() if image is None else image,
            self,
            names,
            threshold=self.threshold if threshold is None else threshold,
        )

    def to_supervision(self) -> Any:
        """The objects as `supervision.Detections`: boxes in pixels, with `class_name` in its data.

        Raises:
            DependencyError: supervision is not installed.
            ValueError: the size of the image is not known.

        >>> found.to_supervision().class_id.tolist()  # doctest: +SKIP
        [0, 1]
        """
        supervision = _library("supervision")
        return supervision.Detections(
            xyxy=self.boxes_px(),
            confidence=self.scores,
            class_id=self.labels,
            data={"class_name": np.array(self.names, dtype=np.str_)},
        )

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each object: name, score, corners in pixels, label.

        Raises:
            DependencyError: pandas is not installed.
            ValueError: the size of the image is not known.

        >>> found.to_pandas()[["name", "x1", "x2"]].round().values.tolist()  # doctest: +SKIP
        [['cat', 10.0, 60.0], ['dog', 50.0, 90.0]]
        """
        pandas = _library("pandas")
        corners = dict(zip(("x1", "y1", "x2", "y2"), self.boxes_px().T, strict=True))
        return pandas.DataFrame({"name": self.names, "score": self.scores, **corners, "label": self.labels})

    def to_coco(self, image_id: int | str, *, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """The objects as COCO's results have them: a list for a JSON file, boxes as x, y, width, height in pixels.

        `category_ids`: the id of each class; by default they count from 1, as `multibox convert` writes them.

        Raises:
            ValueError: the size of the image is not known.

        >>> found.to_coco(image_id=7)[1]
        {'image_id': 7, 'category_id': 2, 'bbox': [50.0, 10.0, 40.0, 20.0], 'score': 0.4}
        """
        ids = [label + 1 if category_ids is None else category_ids[label] for label in self.labels.tolist()]
        rows = zip(ids, self.corner_and_size_px().round(3).tolist(), self.scores.tolist(), strict=True)
        return [
            {"image_id": image_id, "category_id": category_id, "bbox": box, "score": round(score, 5)}
            for category_id, box, score in rows
        ]

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows: the image with the boxes, made smaller if it is large."""
        import cv2

        if self.pixels is None and self.size is None:
            return None
        image = self._background()
        factor = NOTEBOOK_PX / max(image.shape[:2])
        if factor < 1:
            image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        return cv2.imencode(".png", self.plot(image))[1].tobytes()

    def _repr_html_(self) -> str:
        """What a notebook shows: the image with the boxes, and a table of the objects below it."""
        png = self._repr_png_()
        shown = self.above(self.threshold)
        rows = "".join(
            f"<tr><td>{html.escape(visible(one.name))}</td><td>{one.score:.2f}</td></tr>"
            for one in shown[:NUM_IN_TABLE]
        )
        more = f"<p>and {len(shown) - NUM_IN_TABLE} more</p>" if len(shown) > NUM_IN_TABLE else ""
        table = f"<table><tr><th>class</th><th>score</th></tr>{rows}</table>" if rows else "<p>Nothing was found.</p>"
        image = f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}">' if png is not None else ""
        return f"<div>{image}{table}{more}</div>"

    def _cut(self, rows: slice | NDArray[Any]) -> Detections:
        """These rows. Whoever chose them wants to see all of them: no threshold is left."""
        return replace(self, boxes=self.boxes[rows], scores=self.scores[rows], labels=self.labels[rows], threshold=0.0)

    def _name(self, label: int) -> str:
        return self.classes[label] if self.classes is not None and label < len(self.classes) else f"class {label}"

    def _size(self, width: int | None, height: int | None) -> tuple[int, int]:
        if width is not None and height is not None:
            return width, height
        if self.size is None:
            raise ValueError("the size of the image is not known: give its width and height in pixels")
        return self.size

    def _background(self) -> Image:
        image = self.pixels.read() if self.pixels is not None else None
        if image is not None:
            return image
        width, height = self._size(None, None)
        return np.full((height, width, 3), GREY, dtype=np.uint8)


def _corners(box: NDArray[np.float64]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box.tolist()
    return x1, y1, x2, y2


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise DependencyError(f"This needs {name}. Install it with: pip install {name}") from error


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
