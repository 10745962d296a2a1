"""One picture: a scene at a moment with its objects, and their labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from airport.air import FAR, Air
from airport.arrays import Picture
from airport.camera import SCALE
from airport.canvas import Canvas
from airport.chance import Random
from airport.ground import Ground, lit_ground, with_reflections
from airport.lens import finished
from airport.scene import Scene
from airport.shadows import shadows
from airport.sky import sky
from airport.things import Thing

LEAST_VISIBLE = 0.3


@dataclass(frozen=True)
class Label:
    """The box of an object in pixels of the final picture: left, top, width and height."""

    category: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Drawn:
    """What the mask of an object said: its number, its box and how many pixels it covers."""

    category: int
    number: int
    box: tuple[float, float, float, float]
    pixels: int


def render(
    scene: Scene, ground: Ground, air: Air, objects: Sequence[Thing], random: Random
) -> tuple[Picture, list[Label]]:
    """The picture of a moment and the labels of its objects."""
    above = sky(scene, air, random)
    standing = sorted([*scene.props, *objects], key=lambda thing: -float(np.hypot(thing.x, thing.y)))
    things = [*scene.background, *standing]
    floor = lit_ground(scene, ground, air, shadows(scene, air, things))
    if air.wet:
        floor = with_reflections(scene, air, ground, floor=floor, above=above, things=things)
    veil = (1 - np.exp(-np.minimum(np.hypot(ground.x, ground.y), FAR) / air.haze))[:, :, None]
    floor = floor * (1 - veil) + np.array(air.sky_low, np.float32) * veil
    horizon = round(scene.camera.horizon)
    picture = above.copy()
    picture[horizon:] = np.clip(floor[horizon:], 0, 255).astype(np.uint8)
    canvas = Canvas(scene, air, picture)
    owner = np.zeros(picture.shape[:2], np.uint8)
    drawn: list[Drawn] = []
    for number, thing in enumerate(things, start=1):
        canvas.draw(thing)
        owner[canvas.mask > 0] = number
        if thing.category:
            left, top, width, height = (value / SCALE for value in cv2.boundingRect(canvas.mask))
            drawn.append(Drawn(thing.category, number, (left, top, width, height), int(np.count_nonzero(canvas.mask))))
    return finished(canvas, random), visible_labels(drawn, owner)


def visible_labels(drawn: Iterable[Drawn], owner: Picture) -> list[Label]:
    """The labels of the objects of which enough can be seen; owner names the nearest thing of each pixel."""
    labels = []
    for item in drawn:
        seen = int(np.count_nonzero(owner == item.number))
        if item.pixels and seen / item.pixels >= LEAST_VISIBLE and min(item.box[2:]) >= 6:
            labels.append(Label(item.category, item.box))
    return labels
