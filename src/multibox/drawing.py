"""Detections drawn on the full-size image, and the drawing saved under the name of the image."""

from __future__ import annotations

import math
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

import cv2
import numpy as np

from multibox.errors import DataError, OptionError
from multibox.files import write_atomically
from multibox.overwriting import marked
from multibox.structures import Detections, Image

Colour = tuple[int, int, int]  # blue, green, red
Rectangle = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom are outside

# One colour per class, red-green-blue. The first seven are Okabe and Ito's, made for all kinds of colour vision; each
# of the others is, among saturated colours of medium lightness, the farthest from all before it in OKLab, as seen with
# normal vision (weight 0.7) and with simulated protanopia and deuteranopia (weight 0.3). The order is fixed, so a class
# keeps its colour from run to run.
PALETTE = bytes.fromhex(
    "E69F00 56B4E9 009E73 F0E442 0072B2 D55E00 CC79A7 990055 BB00FF 55FFFF 0000FF 555500 FFBBFF 00DD00 7700BB FF55FF"
    "DD0077 99BB99 55FF99 7777FF FF9999 FFDDBB 9955BB 995555 777700 005577 FF00BB 55BB55 BB99FF BB0000 0099BB 7700FF"
    "007755 00DDDD FF3355 3355DD 009900 33FF00 FFBB77 00DD99 999955 BB0099 BBDD99 FF7755 3333BB BBDDFF 0099FF 997755"
    "773377 FF5599 BB77DD 99DD55 555599 FF77DD 00BBBB BBBBFF BB5599 007700 995500 DD33DD 9900DD FFBBBB 7777BB DD0033"
    "BBBB55 775577 553399 3377DD FF99FF 5500DD 7755DD BB7777 BB55FF 997799 990000 DD99BB FFBB00 BB0055 DD9977 7799DD"
)
NUM_COLOURS = len(PALETTE) // 3

FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_CAPITAL_PX = 21
"""Height of a capital letter of the font at scale 1."""

JPEG_QUALITY = 92
"""High enough to show no ringing around the lines and letters; twice the file size would gain nothing visible."""

# Letters that Unicode does not take apart into a plain letter and an accent.
LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}
    | {"ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "\N{LATIN SMALL LETTER DOTLESS I}": "i"}
)


def draw(image: Image, detections: Detections, classes: Sequence[str], *, threshold: float | None = None) -> Image:
    """A copy of a BGR image with the detections of at least `threshold` framed and named, the best on top.

    Give the `threshold` of the runtime that found them; None, there and here, is `structures.DEFAULT_THRESHOLD`.

    Lines and letters grow with the image. Each label lies inside the image and, where a free place touches the box,
    off the other labels.

    >>> drawing = draw(np.zeros((50, 100, 3), np.uint8), found, ("cat", "dog"), threshold=0.5)
    >>> drawing.shape, bool(drawing.any())
    ((50, 100, 3), True)
    """
    drawing = image.copy()
    shown = detections.above(threshold)
    height, width = image.shape[:2]
    side = math.sqrt(width * height)
    line_px = max(1, round(math.sqrt(side) / 10))  # 2 at 640 x 480, 4 at 1920 x 1080
    letter_px = max(7.5, side * 0.016)  # 9 at 640 x 480, 23 at 1920 x 1080; smaller ones cannot be read
    frames = [_frame(box, width, height) for box in shown.boxes_px(width, height).tolist()]
    colours = [colour(label) for label in shown.labels.tolist()]
    texts = [
        f"{drawable_name(classes[label], label)} {score:.2f}"
        for label, score in zip(shown.labels.tolist(), shown.scores.tolist(), strict=True)
    ]
    font = _Font(letter_px, max_width=width)
    # The best detections choose their places first and are drawn last.
    order = np.argsort(-shown.scores, kind="stable").tolist()
    places: dict[int, Rectangle] = {}
    for index in order:
        size = font.label_size(texts[index])
        places[index] = _free_place(_grown(frames[index], line_px // 2), size, (width, height), list(places.values()))
    for index in reversed(order):
        left, top, right, bottom = frames[index]
        corners = (left, top), (right - 1, bottom - 1)
        # A dark rim keeps a line visible on a background of its own colour.
        cv2.rectangle(drawing, *corners, _darker(colours[index]), line_px + 2)
        cv2.rectangle(drawing, *corners, colours[index], line_px)
    for index in reversed(order):
        font.write(drawing, texts[index], places[index], colours[index])
    return drawing


def save_drawing(folder: str | os.PathLike[str], file_name: str, image: Image) -> Path:
    """Write a drawing to `folder` under the file name of its image, with its sub-folders; the path written.

    A name whose ending OpenCV cannot write gets `.jpg` appended.

    Raises:
        DataError: `file_name` leads outside the folder.
        OptionError: the folder cannot be written to.
    """
    path = drawing_path(folder, file_name)
    _, encoded = cv2.imencode(path.suffix, image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, marked(encoded.tobytes()))
    except OSError as error:
        raise OptionError(f"{path}: cannot write the drawing: {error.strerror}. Name another output folder.") from error
    return path


def drawing_path(folder: str | os.PathLike[str], file_name: str) -> Path:
    """Where `save_drawing` writes.

    Raises:
        DataError: `file_name` leads outside the folder.
    """
    path = Path(folder) / _inside(file_name)
    # Of the name, OpenCV gets the ending only: the rest may be bytes that are no text.
    if not (path.suffix and path.suffix.isascii() and cv2.haveImageWriter(f"drawing{path.suffix}")):
        path = path.with_name(path.name + ".jpg")
    return path


def colour(label: int) -> Colour:
    """The colour of a class, blue-green-red; classes beyond the palette share colours."""
    start = label % NUM_COLOURS * 3
    red, green, blue = PALETTE[start : start + 3]
    return blue, green, red


def drawable_name(name: str, label: int) -> str:
    """A class name in the ASCII letters that OpenCV can draw: without accents, else "class" and its index."""
    parts = unicodedata.normalize("NFKD", name.translate(LETTERS))
    plain = "".join(letter for letter in parts if not unicodedata.combining(letter))
    return plain if plain.isascii() and plain.isprintable() and plain.strip() else f"class {label}"


class _Font:
    """Draws labels with capital letters of a given height; a label is never wider than `max_width`."""

    def __init__(self, capital_px: float, *, max_width: int) -> None:
        self.scale = capital_px / FONT_CAPITAL_PX
        self.thickness = max(1, round(capital_px / 9))
        self.padding = max(2, round(capital_px * 0.35))
        self.max_width = max_width

    def label_size(self, text: str) -> tuple[int, int]:
        """Width and height of a label in pixels."""
        (width, height), descent = self._text_size(text)
        return min(width + 2 * self.padding, self.max_width), height + descent // 2 + 2 * self.padding

    def write(self, image: Image, text: str, place: Rectangle, background: Colour) -> None:
        """Draw a label on a filled rectangle, black or white, whichever is easier to read."""
        left, top, right, bottom = place
        image[top:bottom, left:right] = background
        (_, height), _ = self._text_size(text)
        # Drawing on the part of the image that the label has cuts a text that is too long.
        cv2.putText(
            image[top:bottom, left:right],
            text,
            (self.padding, self.padding + height),
            FONT,
            self.scale,
            _ink(background),
            self.thickness,
            cv2.LINE_AA,
        )

    def _text_size(self, text: str) -> tuple[tuple[int, int], int]:
        (width, height), descent = cv2.getTextSize(text, FONT, self.scale, self.thickness)
        return (width, height), descent


def _frame(box_px: Sequence[float], width: int, height: int) -> Rectangle:
    """The whole pixels of a box, at least one each way, inside the image."""
    left, top, right, bottom = box_px
    x1 = min(max(round(left), 0), width - 1)
    y1 = min(max(round(top), 0), height - 1)
    return x1, y1, min(max(round(right), x1 + 1), width), min(max(round(bottom), y1 + 1), height)


def _grown(frame: Rectangle, pixels: int) -> Rectangle:
    left, top, right, bottom = frame
    return left - pixels, top - pixels, right + pixels, bottom + pixels


def _free_place(
    frame: Rectangle, size: tuple[int, int], image_size: tuple[int, int], taken: Sequence[Rectangle]
) -> Rectangle:
    """Where a label touches its frame, lies in the image, and covers as little as possible of the taken places."""
    left, top, right, bottom = frame
    width, height = size
    corners = (
        (left, top - height),  # above
        (left, bottom),  # below
        (left, top),  # inside
        (right - width, top - height),  # the same at the right edge
        (right - width, bottom),
        (right - width, top),
        (left, bottom - height),
        (right - width, bottom - height),
    )
    places = []
    for x, y in corners:
        x1 = max(0, min(x, image_size[0] - width))
        y1 = max(0, min(y, image_size[1] - height))
        places.append((x1, y1, min(x1 + width, image_size[0]), min(y1 + height, image_size[1])))
    return min(places, key=lambda place: sum(_overlap(place, other) for other in taken))


def _overlap(first: Rectangle, second: Rectangle) -> int:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0)


def _ink(background: Colour) -> Colour:
    """Black or white, whichever has the higher contrast in the sense of WCAG 2."""
    blue, green, red = (_linear(value / 255) for value in background)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    # Equal contrast: (1.05) / (L + 0.05) == (L + 0.05) / 0.05, hence L = 0.179.
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


def _darker(bright: Colour) -> Colour:
    blue, green, red = bright
    return blue // 3, green // 3, red // 3


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def _inside(file_name: str) -> Path:
    """The name as a relative path without `..`; a name that leads outside is an error."""
    # Windows rules read both separators and drive letters: a name is refused on every system or on none.
    path = PureWindowsPath(file_name)
    parts: list[str] = []
    leads_outside = bool(path.drive or path.root or "\0" in file_name)
    for part in path.parts:
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            leads_outside = True
    if leads_outside or not parts or path.name == "..":
        raise DataError(
            f'The image name "{file_name}" leads outside the output folder, so its drawing is not saved. '
            "Give file_name in the annotations relative to the image folder."
        )
    return Path(*parts)
